/** A connection to the gateway without TLS, by the addon. */
import type { SystemCallError } from '../../platform/process-control.js'
import type {
  NativeSockets,
  ReadArena,
  StreamSocket,
  StreamSocketOptions,
} from '../../platform/stream-socket.js'
import type { Link, LinkEvents } from '../link.js'

export interface StreamLinkOptions {
  readonly sockets: NativeSockets
  readonly arena: ReadArena
  readonly highBytes: number
}

/** The addon calls what begins with `on`. */
export class StreamLink implements Link, StreamSocketOptions {
  // The client is paused long before: pongs and Closes come on top.
  readonly maxQueuedBytes: number
  readonly #socket: StreamSocket
  readonly #arena: ReadArena
  readonly #events: LinkEvents
  readonly #highBytes: number
  #queued = 0
  #isBroken = false
  #hasRead = false
  #hasWritten = false

  /** Works on a duplicate of the descriptor; whoever has the other one must not read from it any more. */
  constructor(descriptor: number, { sockets, arena, highBytes }: StreamLinkOptions, events: LinkEvents) {
    this.maxQueuedBytes = highBytes + QUEUE_ROOM
    this.#arena = arena
    this.#events = events
    this.#highBytes = highBytes
    this.#socket = new sockets.StreamSocket(descriptor, this).unref()
  }

  get queuedBytes(): number {
    if (this.#queued > 0) this.#queued = this.#socket.queuedBytes
    return this.#queued
  }

  get full(): boolean {
    return this.#queued > this.#highBytes
  }

  get isFree(): boolean {
    return this.#queued === 0
  }

  write(bytes: Buffer): void {
    if (this.#isBroken) return
    try {
      this.#queued = this.#socket.write(bytes)
    } catch {
      // What the gateway sent before it went is read first; then comes the failure.
      this.#isBroken = true
      this.#queued = 0
    }
  }

  readonly takesAtOnce = true

  lend(bytes: Buffer): void {
    this.write(bytes)
  }

  pause(): void {
    this.#socket.readStop()
  }

  resume(): void {
    this.#socket.readStart()
  }

  end(): void {
    if (this.#isBroken) return
    try {
      this.#socket.end()
    } catch {
      this.#isBroken = true
    }
  }

  destroy(): void {
    this.#isBroken = true
    this.#socket.destroy()
  }

  onRead(count: number): void {
    if (count > 0) {
      const { bytes, offset } = this.#arena
      return this.#events.bytes(bytes.subarray(offset, offset + count))
    }
    this.#hasRead = true
    this.#events.ended(true)
    this.#closeWhenDone()
  }

  onDrained(): void {
    this.#queued = 0
    this.#events.drained()
  }

  onClosed(): void {
    this.#queued = 0
    this.#hasWritten = true
    this.#closeWhenDone()
  }

  onFailed(error: SystemCallError): void {
    this.#isBroken = true
    this.#events.lost(error)
  }

  #closeWhenDone(): void {
    if (!this.#hasRead || !this.#hasWritten) return
    this.destroy()
    this.#events.closed()
  }
}

// A read of the client's, and control frames.
const QUEUE_ROOM = 1024 * 1024
