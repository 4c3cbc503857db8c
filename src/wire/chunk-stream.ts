/**
 * Streaming decoder of one message's chunk: the payload comes out while the message is still arriving.
 *
 * Rule 1: the rules of chunk.ts hold, however the bytes are cut.
 * Rule 2: a payload is handed out early only where no later field can replace it, which is known when the message's
 *         length is and the field reaches its end. Otherwise it is held, up to the cap, until `end()`.
 * Rule 3: what is handed out is a view of what was pushed; what is held is a copy.
 */

import { ProxyError } from '../errors.js'
import { DEFAULT_MAX_MESSAGE_BYTES, FieldReader } from './chunk.js'

export interface ChunkDecoderOptions {
  /** length of the whole message, in bytes, where the framing has told it (default: not known) */
  readonly messageBytes?: number
  /** cap on the payload, in bytes (default: 16 MiB) */
  readonly maxBytes?: number
}

/** Decodes one message. After a throw it must not be used again. */
export class ChunkDecoder {
  readonly #messageBytes: number | undefined
  readonly #reader: FieldReader
  #consumed = 0
  // A field's tag and length that have not all arrived: at most 15 bytes.
  #partial: Buffer = EMPTY
  #bodyLeft = 0
  #body: 'skip' | 'hold' | 'stream' = 'skip'
  // Grows with what has come, not with what was announced.
  #held: Buffer = EMPTY
  #heldBytes = 0

  constructor({ messageBytes, maxBytes = DEFAULT_MAX_MESSAGE_BYTES }: ChunkDecoderOptions = {}) {
    this.#messageBytes = messageBytes
    this.#reader = new FieldReader(maxBytes)
  }

  /** Payload that is certain, in order, as views of `bytes`. Throws ERR_CHUNK_MALFORMED or ERR_CHUNK_TOO_LARGE. */
  push(bytes: Uint8Array): Buffer[] {
    const certain: Buffer[] = []
    const pushed = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength)
    let at = 0
    while (at < pushed.length) {
      if (this.#bodyLeft > 0) {
        const piece = pushed.subarray(at, at + this.#bodyLeft)
        at += piece.length
        this.#consumed += piece.length
        this.#bodyLeft -= piece.length
        if (this.#body === 'stream') certain.push(piece)
        else if (this.#body === 'hold') this.#hold(piece)
        continue
      }
      at = this.#readField(pushed, at)
    }
    return certain
  }

  /** What was held, once the message is over. Throws ERR_CHUNK_MALFORMED where it ended inside a field. */
  end(): Buffer[] {
    const cutShort = this.#messageBytes !== undefined && this.#consumed !== this.#messageBytes
    if (this.#bodyLeft > 0 || this.#partial.length > 0 || this.#reader.inGroup || cutShort) throw truncated()
    return this.#heldBytes === 0 ? [] : [this.#held.subarray(0, this.#heldBytes)]
  }

  #hold(piece: Buffer): void {
    const needed = this.#heldBytes + piece.length
    if (needed > this.#held.length) {
      const grown = Buffer.allocUnsafeSlow(Math.max(needed, 2 * this.#held.length))
      this.#held.copy(grown, 0, 0, this.#heldBytes)
      this.#held = grown
    }
    piece.copy(this.#held, this.#heldBytes)
    this.#heldBytes = needed
  }

  // Reads a field's tag and length from what was kept and what came; returns where its body starts in `pushed`.
  #readField(pushed: Buffer, at: number): number {
    const kept = this.#partial.length
    // Never more than a tag's and a length's longest: a slice keeps one byte at a time from copying it all again.
    const head =
      kept === 0
        ? pushed.subarray(at)
        : Buffer.concat([this.#partial, pushed.subarray(at, at + MAX_HEADER_BYTES)])
    const field = this.#reader.read(head, 0)
    if (field === undefined) {
      this.#partial = Buffer.from(head)
      return pushed.length
    }
    this.#partial = EMPTY
    this.#consumed += field.bodyStart
    this.#bodyLeft = field.bodyBytes
    const fieldEnd = this.#consumed + field.bodyBytes
    if (this.#messageBytes !== undefined && fieldEnd > this.#messageBytes) throw truncated()
    if (field.isData) {
      this.#heldBytes = 0
      this.#body = fieldEnd === this.#messageBytes ? 'stream' : 'hold'
    } else {
      this.#body = 'skip'
    }
    return at + field.bodyStart - kept
  }
}

function truncated(): ProxyError {
  return new ProxyError('ERR_CHUNK_MALFORMED', 'the message ends inside a field')
}

const EMPTY = Buffer.alloc(0)
const MAX_HEADER_BYTES = 15
