/**
 * ProcessControl over functions of the C library, whichever foreign function interface reaches them.
 *
 * Rule 1: struct sigaction is handled as the C library's, not the kernel's: 8 bytes of handler, 128 of mask, 4 of flags,
 *         4 of padding, 8 of restorer. glibc and musl agree on it, on x64 and on arm64.
 */
import { constants } from 'node:os'
import type { Disposition, ProcessControl } from './process-control.js'
import { systemCallError } from './system-call-error.js'
import { tracerPid } from './tracer.js'

/** What is called. Each returns -1 where it fails; `errno` says why, right after. */
export interface Libc {
  prctl(option: number, argument: number): number
  sigaction(signal: number, action: Buffer | null, previous: Buffer | null): number
  errno(): number
}

/** Architectures whose struct sigaction is known (Rule 1). */
export const KNOWN_ARCHITECTURES: readonly string[] = ['x64', 'arm64']

/** The interface over `libc`. */
export function processControlOver(libc: Libc): ProcessControl {
  let replaced: Buffer | undefined

  function prctl(option: number, argument: number): number {
    const result = libc.prctl(option, argument)
    if (result === -1) throw systemCallError('prctl', libc.errno())
    return result
  }

  function sigaction(action: Buffer | null): Buffer {
    const previous = Buffer.alloc(SIGACTION_BYTES)
    if (libc.sigaction(SIGUSR1, action, previous) !== 0) throw systemCallError('sigaction', libc.errno())
    return previous
  }

  const control: ProcessControl = {
    setDumpable(dumpable) {
      prctl(PR_SET_DUMPABLE, dumpable ? 1 : 0)
    },
    isDumpable: () => prctl(PR_GET_DUMPABLE, 0) === 1,
    sigusr1: () => dispositionIn(sigaction(null)),
    ignoreSigusr1() {
      if (control.sigusr1() === 'ignored') return
      const ignoring = Buffer.alloc(SIGACTION_BYTES)
      ignoring.writeBigUInt64LE(SIG_IGN)
      replaced = sigaction(ignoring)
    },
    restoreSigusr1() {
      if (replaced !== undefined && control.sigusr1() === 'ignored') sigaction(replaced)
      replaced = undefined
    },
    tracerPid: () => tracerPid(),
  }
  return control
}

function dispositionIn(action: Buffer): Disposition {
  const handler = action.readBigUInt64LE()
  if (handler === SIG_DFL) return 'default'
  return handler === SIG_IGN ? 'ignored' : 'caught'
}

const SIGACTION_BYTES = 152
const SIGUSR1 = constants.signals.SIGUSR1
// <signal.h>
const SIG_DFL = 0n
const SIG_IGN = 1n
// <linux/prctl.h>
const PR_GET_DUMPABLE = 3
const PR_SET_DUMPABLE = 4
