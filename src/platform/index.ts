/** What this machine offers: for each capability, what serves it and why. */
import { loadPrctl, type Prctl } from './koffi.js'

export interface Capability {
  /** what serves it; `none` where nothing does */
  readonly implementation: string
  readonly why: string
}

export type Capabilities = Readonly<Record<'non-dumpable', Capability>>

/** The table. Asking changes nothing. */
export function capabilities(): Capabilities {
  const prctl = loadedPrctl()
  return {
    'non-dumpable': 'absent' in prctl ? { implementation: 'none', why: prctl.absent } : describe(prctl),
  }
}

/**
 * Makes this process non-dumpable (prctl(2), PR_SET_DUMPABLE): other processes of its user can no longer trace it, or
 * read its memory and descriptors. Asks the kernel afterwards whether it is so.
 * @returns why it is not so; undefined where it is. Never throws.
 */
export function makeNonDumpable(): { readonly failed: string } | undefined {
  const prctl = loadedPrctl()
  if ('absent' in prctl) return { failed: prctl.absent }
  try {
    const { result, errno } = prctl.call(PR_SET_DUMPABLE, 0)
    if (result !== 0) return { failed: `prctl answered errno ${errno}` }
    const state = prctl.call(PR_GET_DUMPABLE, 0).result
    return state === 0
      ? undefined
      : { failed: `prctl answered 0, but the process is still dumpable (${state})` }
  } catch (error) {
    return { failed: error instanceof Error ? error.message : String(error) }
  }
}

type Loaded = Prctl | { readonly absent: string }
let loaded: Loaded | undefined

// Once: loading takes 20 to 30 ms.
function loadedPrctl(): Loaded {
  loaded ??= loadPrctl(process.platform, process.arch)
  return loaded
}

function describe({ implementation, why }: Prctl): Capability {
  return { implementation, why }
}

// <linux/prctl.h>
const PR_GET_DUMPABLE = 3
const PR_SET_DUMPABLE = 4
