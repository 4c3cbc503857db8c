/** A client's connection by node:net. */
import type { Socket } from 'node:net'
import type { Log } from '../../log.js'
import type { ClientEvents, ClientSocket } from '../engine.js'
import { tellFinFromReset } from '../fin-or-reset.js'

export class NodeClientSocket implements ClientSocket {
  readonly #socket: Socket
  readonly #log: Log
  #isGathering = false

  /** The socket must allow for half-open connections. */
  constructor(socket: Socket, log: Log) {
    this.#socket = socket
    this.#log = log
    socket.unref()
  }

  get queuedBytes(): number {
    return this.#socket.writableLength
  }

  get needsDrain(): boolean {
    return this.#socket.writableNeedDrain
  }

  start(events: ClientEvents): void {
    const socket = this.#socket
    socket.on('data', (bytes: Buffer) => events.bytes(bytes))
    socket.on('end', () => tellFinFromReset(socket, NOTHING, (isFin) => isFin && events.end()))
    socket.on('drain', () => events.drained())
    // The reset itself is seen in 'close'; without a listener it would be thrown.
    socket.on('error', (error) => this.#log.debug('client-error', { message: error.message }))
    socket.on('close', () => events.closed())
  }

  write(bytes: Buffer): void {
    // Behind a large piece there is more as a rule: they go to the kernel together, at the end of this turn.
    if (bytes.length >= LARGE_BYTES) this.#gather()
    this.#socket.write(bytes)
    if (bytes.length < LARGE_BYTES) this.#flush()
  }

  end(bytes?: Buffer): void {
    this.#flush()
    if (bytes === undefined) this.#socket.end()
    else this.#socket.end(bytes)
  }

  pause(): void {
    this.#socket.pause()
  }

  resume(): void {
    this.#socket.resume()
  }

  flushed(callback: () => void): void {
    if (this.#socket.destroyed) return
    this.#flush()
    // The callback of an empty write comes when all that was written before it is with the kernel.
    this.#socket.write(NOTHING, callback)
  }

  #gather(): void {
    if (this.#isGathering) return
    this.#isGathering = true
    this.#socket.cork()
    setImmediate(() => this.#flush())
  }

  #flush(): void {
    if (!this.#isGathering) return
    this.#isGathering = false
    this.#socket.uncork()
  }

  reset(): void {
    this.#socket.resetAndDestroy()
  }

  destroy(): void {
    this.#socket.destroy()
  }
}

const NOTHING = Buffer.alloc(0)
// A TLS record has 16 KiB at most.
const LARGE_BYTES = 12 * 1024
