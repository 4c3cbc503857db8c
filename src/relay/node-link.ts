/**
 * A connection to the gateway by Node's sockets, TLS as a rule.
 *
 * Rule 1: one buffer a write, and one write under way: TLS encrypts it in the call, so that the memory is the caller's
 *         again; a second one would wait in Node's queue, as a copy.
 */
import type { Socket } from 'node:net'
import { TLSSocket } from 'node:tls'
import { tellFinFromReset } from './fin-or-reset.js'
import type { Link, LinkEvents } from './link.js'

export class NodeLink implements Link {
  readonly #socket: Socket
  readonly #highBytes: number
  readonly #written: (error?: Error | null) => void
  #isOver = false

  /** Bytes that come are not seen here: who made the socket gave it its `onread`. */
  constructor(socket: Socket, highBytes: number, events: LinkEvents) {
    this.#socket = socket
    this.#highBytes = Math.min(highBytes, UNDER_WAY_BYTES)
    const tell = (what: () => void) => this.#isOver || what()
    // Not 'drain': that one comes only where much was queued.
    this.#written = (error) => {
      if (!error && socket.writableLength === 0) tell(() => events.drained())
    }
    // Before the socket's own listener, which ends the writing side.
    socket.prependListener('end', () => {
      // TLS swallows a write of nothing.
      const probe = socket instanceof TLSSocket && !this.#isOver ? events.probe() : EMPTY
      tellFinFromReset(socket, probe, (isFin) => tell(() => events.ended(isFin)))
    })
    let cause: Error | undefined
    socket.on('error', (error) => {
      cause = error
    })
    socket.on('close', () => tell(() => (cause === undefined ? events.closed() : events.lost(cause))))
  }

  get queuedBytes(): number {
    return this.#socket.writableLength
  }

  get full(): boolean {
    return this.#socket.writableLength > this.#highBytes
  }

  get isFree(): boolean {
    return this.#socket.writableLength === 0
  }

  write(bytes: Buffer): void {
    if (this.#socket.writable) this.#socket.write(bytes, this.#written)
  }

  get takesAtOnce(): boolean {
    return this.isFree && this.#socket instanceof TLSSocket
  }

  lend(bytes: Buffer): void {
    this.write(bytes)
  }

  pause(): void {
    this.#socket.pause()
  }

  resume(): void {
    this.#socket.resume()
  }

  end(): void {
    this.#socket.end()
  }

  destroy(): void {
    this.#isOver = true
    this.#socket.destroy()
  }
}

const EMPTY = Buffer.alloc(0)
// A large write goes alone, a few small ones may gather.
const UNDER_WAY_BYTES = 64 * 1024
