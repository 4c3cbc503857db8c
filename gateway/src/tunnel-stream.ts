/**
 * A tunnel's WebSocket as a Duplex of the bytes inside its chunks.
 *
 * Rule 1: reading pauses the WebSocket when the reader is behind, writing waits when the relay is; what is held in
 *         between is bounded both ways.
 * Rule 2: a clean end is a clean end and a broken one is broken: `end()` sends all and Close 1000; `fail()`, `destroy()`
 *         before the end, and every error send another code or nothing, never 1000 (invariant 5).
 * Rule 3: the other side closing with 1000 or without a code is its end; anything else is an error.
 * Rule 4: the tunnel is kept alive by the keepalive chunk; and while reading is paused, when a ping would lie unread, by
 *         pongs of our own accord (RFC 6455 §5.5.3), so that the relay does not take a slow origin for a dead gateway.
 */
import { Duplex } from 'node:stream'
import { CHUNK_HEADROOM, decodeChunk, encodeChunkInto, KEEPALIVE, MAX_CHUNK_BYTES } from 'upstreamproxy/wire'
import type { WebSocket } from 'ws'
import type { Limits } from './limits.js'
import type { ReasonCode } from './reasons.js'

type WriteCallback = (error?: Error | null) => void

/** Why a tunnel broke; the stream is destroyed with it. */
export class TunnelError extends Error {
  override readonly name = 'TunnelError'
  readonly reason: ReasonCode

  constructor(reason: ReasonCode, message: string) {
    super(message)
    this.reason = reason
  }
}

export type TunnelStreamLimits = Pick<
  Limits,
  'maxMessageBytes' | 'downHighBytes' | 'downLowBytes' | 'keepaliveMs' | 'closeMs'
>

/** Takes a WebSocket that is open. */
export class TunnelStream extends Duplex {
  readonly #webSocket: WebSocket
  readonly #limits: TunnelStreamLimits
  readonly #keepalive: NodeJS.Timeout
  #blocked: WriteCallback | undefined
  #ended = false
  #bytesUp = 0
  #bytesDown = 0

  constructor(webSocket: WebSocket, limits: TunnelStreamLimits) {
    super({ readableHighWaterMark: READ_AHEAD_BYTES, writableHighWaterMark: WRITE_AHEAD_BYTES })
    this.#webSocket = webSocket
    this.#limits = limits
    webSocket.on('message', (message, isBinary) => this.#onMessage(message as Buffer, isBinary))
    webSocket.on('close', (code) => this.#onClose(code))
    // What 'close' says afterwards is enough, but for what broke the protocol.
    webSocket.on('error', (error) => this.destroy(new TunnelError('tunnel-protocol', error.message)))
    this.#keepalive = setInterval(() => this.#keepAlive(), limits.keepaliveMs).unref()
    // The reason is told through 'close'; without a listener an error would end the process.
    this.on('error', () => this.#stopKeepalive())
  }

  /** payload bytes that came from the relay */
  get bytesUp(): number {
    return this.#bytesUp
  }

  /** payload bytes that were sent to the relay */
  get bytesDown(): number {
    return this.#bytesDown
  }

  /** Breaks the tunnel: what was written goes out, then the other side sees an error. */
  fail(reason: ReasonCode): void {
    this.destroy(new TunnelError(reason, `the tunnel was broken: ${reason}`))
  }

  override _read(): void {
    if (this.#webSocket.isPaused) this.#webSocket.resume()
  }

  override _write(bytes: Buffer, _encoding: BufferEncoding, callback: WriteCallback): void {
    this.#send([bytes], callback)
  }

  override _writev(items: { chunk: Buffer }[], callback: WriteCallback): void {
    this.#send(
      items.map(({ chunk }) => chunk),
      callback,
    )
  }

  override _final(callback: WriteCallback): void {
    this.#ended = true
    // A slow reader may take its time for the rest: only the WebSocket's own closeTimeout (finishMs) cuts it off.
    this.#webSocket.close(1000)
    callback()
  }

  override _destroy(error: Error | null, callback: (error: Error | null) => void): void {
    this.#stopKeepalive()
    const blocked = this.#blocked
    this.#blocked = undefined
    if (!this.#ended)
      this.#abort(error instanceof TunnelError && error.reason === 'tunnel-protocol' ? 1002 : 1011)
    // A reader that paused would never see the Close that answers ours.
    this.#webSocket.resume()
    callback(error)
    blocked?.(error)
  }

  #onMessage(message: Buffer, isBinary: boolean): void {
    if (this.destroyed) return
    let payload: Buffer
    try {
      if (!isBinary) throw new TunnelError('tunnel-protocol', 'a text message')
      payload = decodeChunk(message, this.#limits.maxMessageBytes)
    } catch (error) {
      const message = error instanceof Error ? error.message : 'not a chunk'
      this.destroy(error instanceof TunnelError ? error : new TunnelError('tunnel-protocol', message))
      return
    }
    if (payload.length === 0) return
    this.#bytesUp += payload.length
    if (!this.push(payload)) this.#webSocket.pause()
  }

  #onClose(code: number): void {
    this.#stopKeepalive()
    if (this.destroyed) return
    if (this.#ended) {
      this.push(null)
      this.destroy()
    } else if (code === 1000 || code === 1005) {
      // What is unread may still be read; but there is no one left to write to (v1 has no half-close).
      this.once('end', () => this.destroy())
      setTimeout(() => this.destroy(), this.#limits.closeMs).unref()
      this.push(null)
    } else {
      this.destroy(new TunnelError('tunnel-lost', `the relay closed with ${code}`))
    }
  }

  #send(pieces: Buffer[], callback: WriteCallback): void {
    const webSocket = this.#webSocket
    if (webSocket.readyState !== webSocket.OPEN) {
      callback(new TunnelError('client-aborted', 'the relay has closed'))
      return
    }
    for (const chunk of chunksOf(pieces)) {
      webSocket.send(chunk, { binary: true }, () => this.#drained())
    }
    for (const { length } of pieces) this.#bytesDown += length
    if (webSocket.bufferedAmount <= this.#limits.downHighBytes) callback()
    else this.#blocked = callback
  }

  // Also where a send failed: the error of the socket ends the stream by itself.
  #drained(): void {
    if (this.#blocked === undefined || this.#webSocket.bufferedAmount > this.#limits.downLowBytes) return
    const callback = this.#blocked
    this.#blocked = undefined
    callback()
  }

  #keepAlive(): void {
    const webSocket = this.#webSocket
    if (webSocket.readyState !== webSocket.OPEN) return
    if (webSocket.isPaused) webSocket.pong()
    if (webSocket.bufferedAmount === 0) webSocket.send(KEEPALIVE)
  }

  #stopKeepalive(): void {
    clearInterval(this.#keepalive)
  }

  // Goes out behind what is queued; a relay that does not answer is cut off.
  #abort(code: number): void {
    const webSocket = this.#webSocket
    if (webSocket.readyState === webSocket.CLOSED) return
    webSocket.close(code)
    const deadline = setTimeout(() => webSocket.terminate(), this.#limits.closeMs).unref()
    webSocket.once('close', () => clearTimeout(deadline))
  }
}

// One copy each, straight behind the room for its header: chunks of at most MAX_CHUNK_BYTES.
function* chunksOf(pieces: readonly Buffer[]): Generator<Buffer> {
  let left = pieces.reduce((sum, { length }) => sum + length, 0)
  let piece = 0
  let offset = 0
  while (left > 0) {
    const size = Math.min(left, MAX_CHUNK_BYTES)
    const buffer = Buffer.allocUnsafe(CHUNK_HEADROOM + size)
    let at = CHUNK_HEADROOM
    while (at < buffer.length) {
      const source = pieces[piece]!
      const copied = source.copy(buffer, at, offset)
      at += copied
      offset += copied
      if (offset === source.length) {
        piece++
        offset = 0
      }
    }
    yield buffer.subarray(encodeChunkInto(buffer, CHUNK_HEADROOM, size))
    left -= size
  }
}

const READ_AHEAD_BYTES = 128 * 1024
const WRITE_AHEAD_BYTES = 64 * 1024
