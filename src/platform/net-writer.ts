/**
 * A SocketWriter over a socket of node:net: what serves where the addon does not.
 *
 * Rule 1: the queue is here; the socket is given one slice at a time, and the next when the kernel has the whole of it.
 *         So a destroyed writer has at most one slice on its way that it cannot take back.
 * Rule 2: a write is copied before the socket sees it, which keeps what the kernel does not take at once.
 * Rule 3: the socket stays its owner's, who reads from it, listens for its errors and destroys it. Nobody else writes
 *         to it. One that its owner destroys has failed here with EPIPE.
 */
import type { Socket } from 'node:net'
import { constants } from 'node:os'
import { codeOf } from '../errors.js'
import type { SystemCallError } from './process-control.js'
import type { SocketWriter, SocketWriterOptions } from './socket-writer.js'
import { systemCallError } from './system-call-error.js'

/** Writes through `socket`, which is connected. Throws a TypeError where the cap is no number of bytes. */
export function netWriter(socket: Socket, options: SocketWriterOptions): SocketWriter {
  const { maxQueuedBytes } = options
  if (typeof maxQueuedBytes !== 'number' || !(maxQueuedBytes >= 0))
    throw new TypeError('expected maxQueuedBytes, a number of bytes')
  return new NetWriter(socket, options)
}

class NetWriter implements SocketWriter {
  readonly #socket: Socket
  readonly #options: SocketWriterOptions
  // Slices in order; the first is with the socket where #isSending.
  #queue: Buffer[] = []
  #next = 0
  #isSending = false
  #state: 'open' | 'ending' | 'over' = 'open'
  #failure: SystemCallError | undefined
  #isTold = false
  queuedBytes = 0

  constructor(socket: Socket, options: SocketWriterOptions) {
    this.#socket = socket
    this.#options = options
    socket.on('error', this.#broken)
    socket.on('close', this.#broken)
  }

  write(pieces: readonly Uint8Array[]): number {
    this.#mustBeUsable()
    const bytes = pieces.reduce((sum, { length }) => sum + length, 0)
    if (bytes > this.#options.maxQueuedBytes - this.queuedBytes) throw refusal('write', 'ENOBUFS')
    if (bytes === 0) return this.queuedBytes
    const copy = Buffer.concat(pieces, bytes)
    for (let at = 0; at < bytes; at += SLICE_BYTES) this.#queue.push(copy.subarray(at, at + SLICE_BYTES))
    this.queuedBytes += bytes
    this.#send()
    if (this.#failure !== undefined) throw this.#failure
    return this.queuedBytes
  }

  end(): void {
    if (this.#failure === undefined && this.#state === 'ending') return
    this.#mustBeUsable()
    this.#state = 'ending'
    if (this.queuedBytes === 0) this.#shutDown()
  }

  destroy(): void {
    this.#letGo()
    this.#state = 'over'
  }

  #mustBeUsable(): void {
    if (this.#failure !== undefined) throw this.#failure
    if (this.#state !== 'open' || !this.#socket.writable) throw refusal('write', 'EPIPE')
  }

  // Slices until the kernel is full, or nothing is left.
  #send(): void {
    while (!this.#isSending && this.#next < this.#queue.length && this.#failure === undefined) {
      // A write after an end would destroy the socket.
      if (!this.#socket.writable) return this.#fail(undefined)
      this.#socket.write(this.#queue[this.#next]!, this.#sent)
      if (this.#socket.errored) this.#fail(this.#socket.errored)
      else if (this.#socket.writableLength > 0) this.#isSending = true
      else this.#consume()
    }
  }

  #consume(): void {
    this.queuedBytes -= this.#queue[this.#next]!.length
    this.#queue[this.#next++] = EMPTY
    if (this.#next < this.#queue.length && this.#next < MANY_SENT) return
    this.#queue = this.#queue.slice(this.#next)
    this.#next = 0
  }

  // Comes for every slice, also (a turn later) for those that the kernel took at once, which are none of its concern.
  readonly #sent = (): void => {
    if (!this.#isSending || this.#socket.writableLength > 0) return
    // Then this came although the kernel has not taken it, and #broken comes.
    if (this.#socket.destroyed) return
    this.#isSending = false
    this.#consume()
    this.#send()
    if (this.#failure !== undefined) return this.#tell()
    if (this.queuedBytes > 0) return
    if (this.#state === 'ending') this.#shutDown()
    else this.#options.onDrained?.()
  }

  #shutDown(): void {
    this.#socket.once('finish', this.#finished)
    this.#socket.end()
  }

  readonly #finished = (): void => {
    this.#letGo()
    this.#options.onClosed?.()
  }

  // Where nothing waits, the next call learns of it.
  readonly #broken = (error: Error | boolean): void => {
    const mustTell = this.queuedBytes > 0 || this.#state === 'ending'
    if (this.#failure === undefined) this.#fail(error instanceof Error ? error : undefined)
    if (mustTell) this.#tell()
  }

  #fail(error: Error | undefined): void {
    const code = codeOf(error) ?? ''
    // What has no errno, such as a socket that was destroyed, is a pipe without an end.
    this.#failure = refusal('write', code in constants.errno ? code : 'EPIPE')
    this.#drop()
  }

  #tell(): void {
    const failure = this.#failure
    if (failure === undefined || this.#isTold) return
    this.#isTold = true
    this.#options.onFailed?.(failure)
  }

  #letGo(): void {
    this.#drop()
    this.#socket.off('error', this.#broken)
    this.#socket.off('close', this.#broken)
    this.#socket.off('finish', this.#finished)
  }

  #drop(): void {
    this.#queue = []
    this.#next = 0
    this.#isSending = false
    this.queuedBytes = 0
  }
}

function refusal(syscall: string, code: string): SystemCallError {
  return systemCallError(syscall, constants.errno[code as keyof typeof constants.errno])
}

const EMPTY = Buffer.alloc(0)
// What a busy socket takes at once, and not much more than what a destroyed writer may still send.
const SLICE_BYTES = 128 * 1024
const MANY_SENT = 64
