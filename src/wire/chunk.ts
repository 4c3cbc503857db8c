/**
 * `UpstreamProxyChunk { bytes data = 1; }` in protobuf's encoding, one per WebSocket message (wire protocol v1).
 *
 * Rule 1: an encoder writes `0a`, a minimal varint, the payload, and nothing else; a keepalive is `0a 00`.
 * Rule 2: a decoder takes all that protobuf allows: no bytes at all, unknown fields, groups, varints longer than
 *         they need be, `data` more than once (the last wins).
 * Rule 3: a length is held against its cap before anything is allocated for it.
 * Rule 4: payloads are views of what was pushed, never copies, wherever the message came in one piece.
 */
import { ProxyError } from '../errors.js'

/** largest payload of a chunk that is sent, in bytes: a proxy's per-request buffer */
export const MAX_CHUNK_BYTES = 512 * 1024
/** largest message that is received, in bytes */
export const DEFAULT_MAX_MESSAGE_BYTES = 16 * 1024 * 1024
/** room that `encodeChunkInto` needs before the payload: the tag and the longest varint of a 32-bit length */
export const CHUNK_HEADROOM = 6
/** the chunk that carries nothing; sent to keep intermediaries from closing an idle connection */
export const KEEPALIVE: Buffer = Buffer.from([0x0a, 0x00])

/** A chunk of its own memory: header, then a copy of the payload. */
export function encodeChunk(payload: Uint8Array): Buffer {
  const headerBytes = 1 + varintBytes(payload.length)
  const chunk = Buffer.allocUnsafe(headerBytes + payload.length)
  chunk.set(payload, headerBytes)
  encodeChunkInto(chunk, headerBytes, payload.length)
  return chunk
}

/**
 * Writes a chunk's header in place, just before a payload that already lies in `buffer` from `payloadStart` on
 * (at least CHUNK_HEADROOM, or as many bytes as the header takes). Returns where the chunk starts.
 */
export function encodeChunkInto(buffer: Uint8Array, payloadStart: number, payloadBytes: number): number {
  const start = payloadStart - 1 - varintBytes(payloadBytes)
  if (start < 0) throw new ProxyError('ERR_INTERNAL', 'no headroom for the chunk header')
  let at = start
  buffer[at++] = DATA_TAG
  let left = payloadBytes
  while (left >= 0x80) {
    buffer[at++] = (left & 0x7f) | 0x80
    left >>>= 7
  }
  buffer[at] = left
  return start
}

/**
 * The payload of a whole message, as a view; empty for a keepalive. Throws ERR_CHUNK_MALFORMED or
 * ERR_CHUNK_TOO_LARGE (a length over `maxBytes`).
 */
export function decodeChunk(message: Uint8Array, maxBytes: number = DEFAULT_MAX_MESSAGE_BYTES): Buffer {
  const bytes = asBuffer(message)
  const reader = new FieldReader(maxBytes)
  let data: Buffer = EMPTY
  let at = 0
  while (at < bytes.length) {
    const field = reader.read(bytes, at)
    if (field === undefined) throw truncated()
    const end = field.bodyStart + field.bodyBytes
    if (end > bytes.length) throw truncated()
    if (field.isData) data = bytes.subarray(field.bodyStart, end)
    at = end
  }
  if (reader.inGroup) throw truncated()
  return data
}

/** varint length of a non-negative 32-bit number, in bytes */
export function varintBytes(value: number): number {
  if (value < 0x80) return 1
  if (value < 0x4000) return 2
  if (value < 0x20_0000) return 3
  if (value < 0x1000_0000) return 4
  return 5
}

interface Field {
  /** field 1, length-delimited, outside any group */
  readonly isData: boolean
  readonly bodyStart: number
  /** bytes of the body that follow (0 for what a group's tags or a varint already took) */
  readonly bodyBytes: number
}

/** Reads one field's tag and length at a time; keeps only the nesting of groups between calls. */
export class FieldReader {
  readonly #maxBytes: number
  // Field numbers of the groups that are open (protobuf parsers stop at 100 as well).
  readonly #groups: number[] = []

  constructor(maxBytes: number) {
    this.#maxBytes = maxBytes
  }

  get inGroup(): boolean {
    return this.#groups.length > 0
  }

  /** The field whose tag is at `at`, or undefined if its tag or length is not all there yet. */
  read(bytes: Uint8Array, at: number): Field | undefined {
    const tag = readVarint(bytes, at, 5)
    if (tag === undefined) return undefined
    if (tag.value > 0xffff_ffff) throw malformed('a field tag over 32 bits')
    const number = Math.floor(tag.value / 8)
    if (number === 0) throw malformed('field number 0')
    const wireType = tag.value % 8
    switch (wireType) {
      case 0: {
        const varint = readVarint(bytes, tag.next, 10)
        return varint && skipped(varint.next, 0)
      }
      case 1:
        return skipped(tag.next, 8)
      case 2: {
        const length = readVarint(bytes, tag.next, 10)
        if (length === undefined) return undefined
        if (length.value > this.#maxBytes) {
          throw new ProxyError('ERR_CHUNK_TOO_LARGE', `a field of more than ${this.#maxBytes} bytes`)
        }
        return { isData: number === 1 && !this.inGroup, bodyStart: length.next, bodyBytes: length.value }
      }
      case 3:
        if (this.#groups.length === MAX_GROUP_DEPTH) throw malformed('groups nested too deep')
        this.#groups.push(number)
        return skipped(tag.next, 0)
      case 4:
        if (this.#groups.pop() !== number) throw malformed('the end of a group that is not open')
        return skipped(tag.next, 0)
      case 5:
        return skipped(tag.next, 4)
      default:
        throw malformed(`wire type ${wireType}`)
    }
  }
}

function skipped(bodyStart: number, bodyBytes: number): Field {
  return { isData: false, bodyStart, bodyBytes }
}

/**
 * The varint at `at`, or undefined if it is not all there. Values of 2^53 and more come out inexact but never
 * smaller than 2^53, so that a comparison with a cap holds.
 */
function readVarint(bytes: Uint8Array, at: number, maxLength: number) {
  let value = 0
  let scale = 1
  for (let i = 0; i < maxLength; i++) {
    const byte = bytes[at + i]
    if (byte === undefined) return undefined
    value += (byte & 0x7f) * scale
    scale *= 0x80
    if (byte < 0x80) return { value, next: at + i + 1 }
  }
  throw malformed(`a varint over ${maxLength} bytes`)
}

function asBuffer(bytes: Uint8Array): Buffer {
  return Buffer.isBuffer(bytes) ? bytes : Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength)
}

function truncated(): ProxyError {
  return malformed('the message ends inside a field')
}

function malformed(message: string): ProxyError {
  return new ProxyError('ERR_CHUNK_MALFORMED', message)
}

const EMPTY = Buffer.alloc(0)
const DATA_TAG = 0x0a
const MAX_GROUP_DEPTH = 100
