/**
 * Headers of the frames that a WebSocket server sends (RFC 6455 §5.2), read and judged byte by byte.
 *
 * Rule 1: what the first two bytes can break is refused with the second, before a length is waited for.
 * Rule 2: of data messages only binary ones are in order (wire protocol v1).
 * Rule 3: a length that is longer than it need be is taken, as `ws` takes it.
 */
import { framingFailure } from './framing-failures.js'

export class FrameHeaderReader {
  #bytesRead = 0
  #lengthBytesLeft = 0
  isFinal = false
  opcode = 0
  /** of the frame; certain once `push` has returned true */
  payloadBytes = 0

  /** true where a header has begun and is not complete */
  get midHeader(): boolean {
    return this.#bytesRead > 0
  }

  /** Takes the next byte; true where it completes a header. Throws ERR_GATEWAY_PROTOCOL. */
  push(byte: number, midMessage: boolean): boolean {
    this.#bytesRead += 1
    if (this.#bytesRead === 1) {
      this.isFinal = (byte & FINAL) !== 0
      // With the reserved bits, until they have been judged.
      this.opcode = byte & 0x7f
      return false
    }
    if (this.#bytesRead === 2) {
      this.#judge(byte, midMessage)
      const isExtended = byte >= TWO_MORE
      this.#lengthBytesLeft = isExtended ? (byte === TWO_MORE ? 2 : 8) : 0
      this.payloadBytes = isExtended ? 0 : byte
    } else {
      // Past 2^53 inexact, but never below it again.
      this.payloadBytes = this.payloadBytes * 256 + byte
      this.#lengthBytesLeft -= 1
    }
    if (this.#lengthBytesLeft > 0) return false
    this.#bytesRead = 0
    if (this.payloadBytes > Number.MAX_SAFE_INTEGER) throw framingFailure('frameLength')
    return true
  }

  #judge(second: number, midMessage: boolean): void {
    if ((this.opcode & RESERVED) !== 0) throw framingFailure('reservedBits')
    if ((second & MASKED) !== 0) throw framingFailure('masked')
    switch (this.opcode) {
      case OPCODE.continuation:
        if (!midMessage) throw framingFailure('continuationOfNothing')
        return
      case OPCODE.text:
        throw framingFailure('text')
      case OPCODE.binary:
        if (midMessage) throw framingFailure('messageInsideMessage')
        return
      case OPCODE.close:
      case OPCODE.ping:
      case OPCODE.pong:
        if (!this.isFinal || second > MAX_CONTROL_BYTES) throw framingFailure('controlFrame')
        if (this.opcode === OPCODE.close && second === 1) throw framingFailure('closeFrame')
        return
      default:
        throw framingFailure('opcode')
    }
  }
}

/** RFC 6455 §5.2; those from 8 on are of control frames */
export const OPCODE = { continuation: 0x0, text: 0x1, binary: 0x2, close: 0x8, ping: 0x9, pong: 0xa } as const
const FINAL = 0x80
const RESERVED = 0x70
const MASKED = 0x80
const MAX_CONTROL_BYTES = 125
const TWO_MORE = 126
