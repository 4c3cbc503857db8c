/** A client's connection by node:net. */
import type { Socket } from 'node:net'
import type { Log } from '../../log.js'
import type { ClientEvents, ClientSocket } from '../engine.js'
import { tellFinFromReset } from '../fin-or-reset.js'

export class NodeClientSocket implements ClientSocket {
  readonly #socket: Socket
  readonly #log: Log

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
    this.#socket.write(bytes)
  }

  end(bytes?: Buffer): void {
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
    // The callback of an empty write comes when all that was written before it is with the kernel.
    this.#socket.write(NOTHING, callback)
  }

  reset(): void {
    this.#socket.resetAndDestroy()
  }

  destroy(): void {
    this.#socket.destroy()
  }
}

const NOTHING = Buffer.alloc(0)
