/** What this machine offers: for each capability, what serves it and why. */
import { loadAddon, nativeDataPath } from './addon.js'
import { type NativeImplementation, processControl } from './process-controls.js'
import { tracerPid } from './tracer.js'

export type { ProcessControl } from './process-control.js'
export { processControl } from './process-controls.js'
export { reasonOf } from './system-call-error.js'

export type CapabilityName = 'non-dumpable' | 'sigusr1' | 'tracer' | 'framing' | 'socket-writes'

export interface Capability {
  readonly implementation: NativeImplementation | 'typescript' | 'unsupported'
  /** what exactly it is, with its version; why it is this one; what was tried before it, and failed */
  readonly why: string
}

export type Capabilities = Readonly<Record<CapabilityName, Capability>>

/**
 * The table. Asking changes nothing in the process. Never throws.
 * @param engine what carries the bytes of the relay in question; where there is none, what would by itself
 */
export function capabilities(engine?: 'native' | 'node'): Capabilities {
  const found = processControl()
  const native: Capability =
    'absent' in found
      ? { implementation: 'unsupported', why: found.absent }
      : { implementation: found.implementation, why: found.why }
  return {
    'non-dumpable': native,
    sigusr1: sigusr1(native),
    tracer: tracer(native),
    ...dataPath(engine),
  }
}

/**
 * The process that traces this one, 0 for none.
 * @throws SystemCallError where /proc cannot be read
 */
export function findTracer(): number {
  const found = processControl()
  return 'absent' in found ? tracerPid() : found.control.tracerPid()
}

/** Files that are there as this package's addon and will not load, each with its reason. */
export function brokenAddons(): readonly { readonly path: string; readonly reason: string }[] {
  return loadAddon().broken
}

function sigusr1(native: Capability): Capability {
  const bun = process.versions['bun']
  if (bun !== undefined) {
    return { implementation: 'typescript', why: `left as it is: Bun ${bun} opens no inspector at SIGUSR1` }
  }
  if (process.platform === 'win32') return { implementation: 'unsupported', why: 'Windows has no SIGUSR1' }
  if (native.implementation !== 'unsupported') return native
  return { implementation: 'typescript', why: `a listener of its own alone; ${native.why}` }
}

function tracer(native: Capability): Capability {
  if (process.platform !== 'linux') {
    return { implementation: 'unsupported', why: `TracerPid is Linux's, and this is ${process.platform}` }
  }
  return native.implementation === 'addon'
    ? native
    : { implementation: 'typescript', why: `TracerPid in /proc/self/task; ${native.why}` }
}

function dataPath(engine: 'native' | 'node' | undefined): Pick<Capabilities, 'framing' | 'socket-writes'> {
  const { dataPath: native, path, hasAddon, broken } = nativeDataPath()
  if (native !== undefined && engine !== 'node') {
    const served = { implementation: 'addon', why: `the native engine: ${path}` } as const
    return { framing: served, 'socket-writes': served }
  }
  const absent = broken || (hasAddon ? 'the addon has no sockets on this runtime' : 'no addon here')
  const why = native === undefined ? absent : 'as asked for'
  return {
    framing: {
      implementation: 'typescript',
      why: `the portable engine: src/wire; ${why}`,
    },
    'socket-writes': { implementation: 'typescript', why: `the portable engine: node:net; ${why}` },
  }
}
