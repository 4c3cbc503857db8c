/** What serves each interface of the data path here: the suites of this folder run once for each. */
import type { Socket } from 'node:net'
import { loadAddon } from '#src/platform/addon.js'
import type { Framing } from '#src/platform/framing.js'
import type { SocketWriter, SocketWriterOptions } from '#src/platform/socket-writer.js'
import { typescriptFraming } from '#src/wire/framing.js'

export type OpenWriter = (socket: Socket, options: SocketWriterOptions) => SocketWriter

export interface Implementation<T> {
  readonly name: 'typescript' | 'addon'
  /** or why there is none */
  load(): T | { readonly absent: string }
}

export const FRAMINGS = chosen<Framing>([
  { name: 'typescript', load: () => typescriptFraming },
  { name: 'addon', load: () => fromAddon('framing') },
])

export const WRITERS = chosen<OpenWriter>([
  {
    name: 'addon',
    load() {
      const sockets = fromAddon('sockets')
      if ('absent' in sockets) return sockets
      return (socket, options) => new sockets.StreamSocket(descriptorOf(socket), options)
    },
  },
])

/** Node has no public name for it. */
export function descriptorOf(socket: Socket): number {
  return (socket as unknown as { readonly _handle: { readonly fd: number } })._handle.fd
}

/** For a test's options: skips what is not here, but in CI, which promises the addon. */
export function skipping(loaded: object): { skip: string | false } {
  return { skip: 'absent' in loaded && !process.env['CI'] && String(loaded.absent) }
}

/** What is promised; a test that is not skipped has it. */
export function present<T extends object>(loaded: T | { readonly absent: string }): T {
  if ('absent' in loaded) throw new Error(loaded.absent)
  return loaded as T
}

// Another runtime's run of these suites asks for the addon alone: the rest is the same everywhere.
function chosen<T>(all: readonly Implementation<T>[]): readonly Implementation<T>[] {
  const only = process.env['NATIVE_IMPLEMENTATION']
  const found = all.filter(({ name }) => only === undefined || name === only)
  if (found.length === 0) throw new Error(`there is no implementation ${only}`)
  return found
}

function fromAddon<Name extends 'framing' | 'sockets'>(name: Name) {
  const { addon, broken } = loadAddon()
  const part = addon?.[name]
  if (part !== undefined) return part
  const reasons = broken.map(({ path, reason }) => `${path}: ${reason}`).join('; ')
  return { absent: reasons || (addon ? `the addon has no ${name} here` : 'no addon for this platform') }
}
