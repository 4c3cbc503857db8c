/** Who serves ProcessControl here: the addon, else a foreign function interface. */
import { brokenText, loadAddon } from './addon.js'
import { loadBunFfi } from './bun-ffi.js'
import { koffiPackages, type LibcLookup, loadKoffi } from './koffi.js'
import { KNOWN_ARCHITECTURES, processControlOver } from './libc-process-control.js'
import type { ProcessControl } from './process-control.js'

export type NativeImplementation = 'addon' | 'bun-ffi' | 'koffi'

export interface ServedControl {
  readonly control: ProcessControl
  readonly implementation: NativeImplementation
  /** what exactly serves, and why nothing before it does */
  readonly why: string
}

export type ControlLookup = ServedControl | { readonly absent: string }

/** The first that there is, in the order of preference; where there is none, why. Looked for once. Never throws. */
export function processControl(): ControlLookup {
  lookup ??= firstOf(process.platform)
  return lookup
}

/** The one that is named, whether or not it is preferred, or why it is absent. Never throws. */
export function processControlBy(implementation: NativeImplementation): ControlLookup {
  if (implementation !== 'addon') return overLibc(implementation)
  const lookup = loadAddon()
  const { addon, path } = lookup
  if (addon?.process !== undefined) {
    return { control: addon.process, implementation, why: `${path} (interface ${addon.version})` }
  }
  return { absent: `addon: ${brokenText(lookup) || `none for ${process.platform}-${process.arch}`}` }
}

let lookup: ControlLookup | undefined

function firstOf(platform: string): ControlLookup {
  if (platform !== 'linux') return { absent: `prctl is Linux's, and this is ${platform}` }
  const reasons: string[] = []
  for (const implementation of order()) {
    const found = processControlBy(implementation)
    if (!('absent' in found)) return { ...found, why: [found.why, ...reasons].join('; ') }
    reasons.push(found.absent)
  }
  return { absent: reasons.join('; ') }
}

function order(): readonly NativeImplementation[] {
  return process.versions['bun'] === undefined ? ['addon', 'koffi'] : ['addon', 'bun-ffi', 'koffi']
}

function overLibc(implementation: 'bun-ffi' | 'koffi'): ControlLookup {
  if (!KNOWN_ARCHITECTURES.includes(process.arch)) {
    return {
      absent: `${implementation}: knows ${KNOWN_ARCHITECTURES.join(' and ')}, and this is ${process.arch}`,
    }
  }
  const found: LibcLookup =
    implementation === 'bun-ffi' ? loadBunFfi() : loadKoffi(koffiPackages(process.arch))
  if ('absent' in found) return found
  return { control: processControlOver(found.libc), implementation, why: found.why }
}
