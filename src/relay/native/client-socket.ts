/** A client's connection by the addon: read into the shared arena, written by the kernel's hand, queued natively. */
import type { Log } from '../../log.js'
import type { SystemCallError } from '../../platform/process-control.js'
import type {
  NativeSockets,
  ReadArena,
  StreamSocket,
  StreamSocketOptions,
} from '../../platform/stream-socket.js'
import type { ClientEvents, ClientSocket } from '../engine.js'

/** The addon calls what begins with `on`. */
export class NativeClientSocket implements ClientSocket, StreamSocketOptions {
  readonly adopt = true
  readonly watchPaused = true
  readonly maxQueuedBytes: number
  /** for a decoder, which writes to it at once; what it throws is for `broke` */
  readonly socket: StreamSocket
  readonly #arena: ReadArena
  readonly #log: Log
  #events!: ClientEvents
  #onFlushed: (() => void) | undefined
  // Not less than what is queued; 0 where nothing is.
  #queued = 0
  #hasRead = false
  #hasWritten = false
  #isGone = false

  /** Takes over the descriptor. */
  constructor(
    descriptor: number,
    {
      sockets,
      arena,
      maxQueuedBytes,
      log,
    }: {
      readonly sockets: NativeSockets
      readonly arena: ReadArena
      readonly maxQueuedBytes: number
      readonly log: Log
    },
  ) {
    this.maxQueuedBytes = maxQueuedBytes
    this.#arena = arena
    this.#log = log
    this.socket = new sockets.StreamSocket(descriptor, this).unref()
  }

  get queuedBytes(): number {
    if (this.#queued > 0) this.#queued = this.socket.queuedBytes
    return this.#queued
  }

  get needsDrain(): boolean {
    return this.#queued > 0
  }

  start(events: ClientEvents): void {
    this.#events = events
    this.socket.readStart()
  }

  write(bytes: Buffer): void {
    if (this.#isGone) return
    try {
      this.#queued = this.socket.write(bytes)
    } catch (error) {
      this.broke(error as SystemCallError)
    }
  }

  end(bytes?: Buffer): void {
    if (bytes !== undefined) this.write(bytes)
    if (this.#isGone) return
    try {
      this.socket.end()
    } catch (error) {
      this.broke(error as SystemCallError)
    }
  }

  pause(): void {
    this.socket.readStop()
  }

  resume(): void {
    if (!this.#isGone) this.socket.readStart()
  }

  flushed(callback: () => void): void {
    if (this.#isGone) return
    if (this.queuedBytes === 0) setImmediate(callback).unref()
    else this.#onFlushed = callback
  }

  reset(): void {
    this.socket.reset()
    this.#goes()
  }

  destroy(): void {
    this.socket.destroy()
    this.#goes()
  }

  /** A decoder has left something in the queue. */
  queues(): void {
    this.#queued = this.socket.queuedBytes
  }

  /** A write has failed. */
  broke(error: SystemCallError): void {
    this.#log.debug('client-error', { message: error.message })
    // Whatever it was, some of the stream is missing: never a clean end.
    this.reset()
  }

  onRead(count: number): void {
    if (count > 0) {
      const { bytes, offset } = this.#arena
      return this.#events.bytes(bytes.subarray(offset, offset + count))
    }
    this.#hasRead = true
    this.#events.end()
    this.#closeWhenDone()
  }

  onDrained(): void {
    this.#queued = 0
    this.#tellFlushed()
    this.#events.drained()
  }

  onClosed(): void {
    this.#queued = 0
    this.#hasWritten = true
    this.#tellFlushed()
    this.#closeWhenDone()
  }

  onFailed(error: SystemCallError): void {
    this.broke(error)
  }

  #tellFlushed(): void {
    const callback = this.#onFlushed
    this.#onFlushed = undefined
    callback?.()
  }

  #closeWhenDone(): void {
    if (this.#hasRead && this.#hasWritten) this.destroy()
  }

  // `closed` comes out of no call of anybody's.
  #goes(): void {
    if (this.#isGone) return
    this.#isGone = true
    this.#queued = 0
    setImmediate(() => this.#events?.closed())
  }
}
