/**
 * Decodes what a WebSocket server sends (RFC 6455 §5) and the chunks in it, however it is cut.
 *
 * Rule 1: a message's length is held against its cap when a header tells it, before payload is taken.
 * Rule 2: what precedes a violation or a Close is handed on; what follows is dropped.
 * Rule 3: of what is pushed nothing is kept but copies: of payload that has to be held (chunk-stream.ts), and of control
 *         frames, which are 125 bytes at most.
 */
import { ProxyError } from '../errors.js'
import type { FrameDecoder, FrameDecoderOptions, FramingFailure } from '../platform/framing.js'
import type { SocketWriter } from '../platform/socket-writer.js'
import { ChunkDecoder } from './chunk-stream.js'
import { readClosePayload } from './close-payload.js'
import { FRAME_EVENT } from './frame-event.js'
import { FrameHeaderReader, OPCODE } from './frame-header.js'
import { framingFailure } from './framing-failures.js'

/** A decoder in TypeScript. Throws a TypeError where the cap is no number of bytes. */
export function createDecoder({ maxMessageBytes }: FrameDecoderOptions): FrameDecoder {
  if (typeof maxMessageBytes !== 'number' || !(maxMessageBytes >= 0))
    throw new TypeError('expected maxMessageBytes, a number of bytes')
  // Of what is longer, lengths are not exact.
  return new StreamingFrameDecoder(Math.min(maxMessageBytes, Number.MAX_SAFE_INTEGER))
}

class StreamingFrameDecoder implements FrameDecoder {
  readonly #maxMessageBytes: number
  readonly #header = new FrameHeaderReader()
  #inFrame = false
  #payloadLeft = 0
  // The message under way: its length so far, and its chunk.
  #messageBytes = 0
  #chunk: ChunkDecoder | undefined
  #control: Buffer = EMPTY
  #ping: Buffer | undefined
  #untaken: Buffer[] = []
  payloadBytes = 0
  closeCode: number | undefined
  failure: FramingFailure | undefined

  constructor(maxMessageBytes: number) {
    this.#maxMessageBytes = maxMessageBytes
  }

  get betweenMessages(): boolean {
    return !this.#inFrame && !this.#header.midHeader && this.#chunk === undefined
  }

  push(bytes: Uint8Array, writer?: SocketWriter): number {
    if (this.failure !== undefined || this.closeCode !== undefined) return 0
    const pieces: Buffer[] = []
    const events = this.#decode(Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength), pieces)
    return pieces.length === 0 ? events : events | this.#handOn(pieces, writer)
  }

  takePayload(): Buffer[] {
    const taken = this.#untaken
    this.#untaken = []
    return taken
  }

  takePing(): Buffer | undefined {
    const taken = this.#ping
    this.#ping = undefined
    return taken
  }

  #handOn(pieces: Buffer[], writer: SocketWriter | undefined): number {
    for (const { length } of pieces) this.payloadBytes += length
    if (writer !== undefined)
      return writer.write(pieces) > 0 ? FRAME_EVENT.payload | FRAME_EVENT.queued : FRAME_EVENT.payload
    this.#untaken.push(Buffer.concat(pieces))
    return FRAME_EVENT.payload
  }

  #decode(bytes: Buffer, pieces: Buffer[]): number {
    let events = 0
    let at = 0
    try {
      while (at < bytes.length && this.closeCode === undefined) {
        if (!this.#inFrame) {
          if (!this.#header.push(bytes[at++]!, this.#chunk !== undefined)) continue
          this.#beginFrame()
        } else {
          const piece = bytes.subarray(at, at + this.#payloadLeft)
          at += piece.length
          this.#payloadLeft -= piece.length
          if (this.#header.opcode < OPCODE.close) pieces.push(...this.#chunk!.push(piece))
          else this.#control = Buffer.concat([this.#control, piece])
        }
        if (this.#payloadLeft === 0) events |= this.#endFrame(pieces)
      }
    } catch (error) {
      if (!(error instanceof ProxyError)) throw error
      this.#chunk = undefined
      this.failure = { code: error.code as FramingFailure['code'], message: error.message }
      events |= FRAME_EVENT.failed
    }
    return events
  }

  #beginFrame(): void {
    const { opcode, isFinal, payloadBytes } = this.#header
    this.#inFrame = true
    this.#payloadLeft = payloadBytes
    if (opcode >= OPCODE.close) return
    this.#messageBytes = (opcode === OPCODE.binary ? 0 : this.#messageBytes) + payloadBytes
    if (this.#messageBytes > this.#maxMessageBytes) throw framingFailure('messageTooLarge')
    if (opcode === OPCODE.continuation) return
    this.#chunk = new ChunkDecoder({
      maxBytes: this.#maxMessageBytes,
      ...(isFinal && { messageBytes: payloadBytes }),
    })
  }

  #endFrame(pieces: Buffer[]): number {
    this.#inFrame = false
    const { opcode, isFinal } = this.#header
    if (opcode < OPCODE.close) {
      if (!isFinal) return 0
      pieces.push(...this.#chunk!.end())
      this.#chunk = undefined
      return 0
    }
    const payload = this.#control
    this.#control = EMPTY
    switch (opcode) {
      case OPCODE.ping:
        this.#ping = payload
        return FRAME_EVENT.ping
      case OPCODE.pong:
        return FRAME_EVENT.pong
      default:
        this.closeCode = readClosePayload(payload)
        return FRAME_EVENT.closed
    }
  }
}

const EMPTY = Buffer.alloc(0)
