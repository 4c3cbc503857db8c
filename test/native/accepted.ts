/** Connections that the addon's listener has accepted: the near end as the addon reads it, the far end one of Node's. */
import { once } from 'node:events'
import { closeSync, readdirSync, readlinkSync } from 'node:fs'
import * as net from 'node:net'
import type { Test } from 'tap'
import { loadAddon } from '#src/platform/addon.js'
import type { SystemCallError } from '#src/platform/process-control.js'
import type {
  NativeSockets,
  ReadArena,
  StreamSocket,
  StreamSocketOptions,
} from '#src/platform/stream-socket.js'
import { eventually, pause, within } from '../support/deadline.js'
import { present, skipping } from './implementations.js'

const loaded = loadAddon().addon?.sockets ?? { absent: 'no addon with sockets here' }

/** For a test's options: skips where there is no addon, but in CI, which promises it. */
export const needsSockets = skipping(loaded)

/** What is promised; a test that is not skipped has it. */
export function nativeSockets(): NativeSockets {
  return present<NativeSockets>(loaded)
}

export interface Connection {
  /** of the near end, nobody's yet */
  readonly descriptor: number
  /** not reading */
  readonly far: net.Socket
}

/** Accepts connections for one test; their far ends go with it. */
export async function connections(t: Test): Promise<() => Promise<Connection>> {
  const { LoopbackListener } = nativeSockets()
  const accepted: number[] = []
  const listener = new LoopbackListener(0, 128, {
    onConnection: (descriptor) => accepted.push(descriptor),
    onFailed: (error) => t.fail(error.message),
  })
  const fars: net.Socket[] = []
  t.teardown(() => {
    listener.close()
    for (const descriptor of accepted) closeSync(descriptor)
    for (const far of fars) far.destroy()
  })
  return async () => {
    const far = net.connect({ port: listener.port, host: '127.0.0.1', allowHalfOpen: true })
    fars.push(far.pause())
    far.on('error', () => undefined)
    await within(once(far, 'connect'), 'the far end')
    await eventually(() => accepted.length > 0, 'the near end')
    return { descriptor: accepted.shift()!, far }
  }
}

export type Telling = 'bytes' | 'end' | 'drained' | 'closed' | 'failed'

/** A socket that reads, and what its callbacks told, in order. Fails the test where one comes out of a call. */
export class WatchedSocket {
  /** what was told: bytes that follow on bytes are not told again, a failure by its code */
  readonly told: string[] = []
  /** called after each callback has been noted */
  onTold: ((what: Telling) => void) | undefined
  /** how many times bytes have come, and the most at once */
  reads = 0
  largestRead = 0
  readonly #t: Test
  readonly #socket: StreamSocket
  readonly #arena: ReadArena
  #pieces: Buffer[] = []
  #isInCall = false

  constructor(
    t: Test,
    descriptor: number,
    options: Pick<StreamSocketOptions, 'adopt' | 'watchPaused'> = { adopt: true },
  ) {
    this.#t = t
    const { StreamSocket, readArena } = nativeSockets()
    this.#arena = readArena()
    this.#socket = new StreamSocket(descriptor, {
      adopt: true,
      ...options,
      maxQueuedBytes: 64 * 1024 * 1024,
      onRead: (bytes) => this.#read(bytes),
      onDrained: () => this.#note('drained', 'drained'),
      onClosed: () => this.#note('closed', 'closed'),
      onFailed: (error) => this.#note('failed', error.code),
    })
    t.teardown(() => this.#socket.destroy())
  }

  /** all that has been read */
  get received(): Buffer {
    if (this.#pieces.length > 1) this.#pieces = [Buffer.concat(this.#pieces)]
    return this.#pieces[0] ?? Buffer.alloc(0)
  }

  /** the same, which is then kept no longer */
  take(): Buffer {
    const { received } = this
    this.#pieces = []
    return received
  }

  get queuedBytes(): number {
    return this.#socket.queuedBytes
  }

  /** for a decoder to write to */
  get native(): StreamSocket {
    return this.#socket
  }

  write(bytes: Uint8Array | string): void {
    this.call((socket) => socket.write(Buffer.from(bytes as string)))
  }

  /** Calls methods of the socket; callbacks must not come out of them. */
  call<T>(call: (socket: StreamSocket) => T): T {
    const outer = this.#isInCall
    this.#isInCall = true
    try {
      return call(this.#socket)
    } finally {
      this.#isInCall = outer
    }
  }

  /** The code of what the call throws. */
  refusal(call: (socket: StreamSocket) => unknown): string | undefined {
    try {
      this.call(call)
      return undefined
    } catch (error) {
      return (error as SystemCallError).code
    }
  }

  /** Writes until the kernel takes no more, and so many bytes wait. Then they go on waiting: nobody reads. */
  async fill(queued = 256 * 1024): Promise<void> {
    // The kernel's buffers may grow, and take what was queued after all: full is what stays so.
    do {
      while (this.queuedBytes < queued) this.call((socket) => socket.write(Buffer.alloc(64 * 1024)))
      await pause(10)
    } while (this.queuedBytes < queued)
  }

  /** Resolves once this has been told. */
  async tells(what: string): Promise<void> {
    await eventually(() => this.told.includes(what), `“${what}” after ${this.told.join(', ') || 'nothing'}`)
  }

  #read(count: number): void {
    if (count === 0) return this.#note('end', 'end')
    const { bytes, offset } = this.#arena
    this.reads += 1
    this.largestRead = Math.max(this.largestRead, count)
    this.#pieces.push(Buffer.from(bytes.subarray(offset, offset + count)))
    this.#note('bytes', 'bytes')
  }

  #note(what: Telling, name: string): void {
    if (this.#isInCall) this.#t.fail(`“${name}” came out of a call`)
    if (name !== 'bytes' || this.told.at(-1) !== 'bytes') this.told.push(name)
    this.onTold?.(what)
  }
}

/** Whether a descriptor of this process leads to the socket whose name `socketOf` has told. */
export function isOpen(socket: string): boolean {
  return readdirSync('/proc/self/fd').some((name) => linkOf(name) === socket)
}

/** The name of the socket behind a descriptor, which no other socket has. */
export function socketOf(descriptor: number): string {
  return readlinkSync(`/proc/self/fd/${descriptor}`)
}

function linkOf(name: string): string | undefined {
  try {
    return readlinkSync(`/proc/self/fd/${name}`)
  } catch {
    return undefined // the descriptor of the listing itself
  }
}
