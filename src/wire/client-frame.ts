/**
 * WebSocket data frames as a client sends them (RFC 6455 §5.2), one chunk each, built in one buffer.
 *
 * Rule 1: one message, one frame, one buffer: a second buffer would cost TLS an allocation and a copy.
 * Rule 2: every frame is masked, with the fresh random key that the caller brings (RFC 6455 §5.3).
 * Rule 3: lengths are written in their shortest form.
 */
import { encodeChunkInto, MAX_CHUNK_BYTES, varintBytes } from './chunk.js'
import { mask } from './mask.js'

/** room before the payload that is always enough: 2 + 8 bytes of length + 4 of key, a tag and its longest varint */
export const FRAME_HEADROOM = 20

/**
 * A binary frame that carries `payload` (at most MAX_CHUNK_BYTES) as a chunk, masked with the four bytes of `key`.
 * The payload is copied: the caller's memory stays as it is.
 */
export function encodeChunkFrame(payload: Uint8Array, key: number): Buffer {
  const chunkHeaderBytes = 1 + varintBytes(payload.length)
  // The message begins at a multiple of four, so that whole words are masked from its first byte on.
  const payloadStart = MESSAGE_START + chunkHeaderBytes
  const frame = Buffer.allocUnsafe(payloadStart + payload.length)
  frame.set(payload, payloadStart)
  return frame.subarray(encodeFrameInto(frame, payloadStart, payload.length, key))
}

/**
 * The same in place, of a payload that already lies in `arena` from `payloadStart` on (FRAME_HEADROOM, or as many bytes
 * as the headers take): returns where the frame starts; it ends where the payload does. Touches nothing else. Throws a
 * RangeError, and then changes nothing, where the arena cannot hold the frame or the payload is over MAX_CHUNK_BYTES.
 */
export function encodeFrameInto(
  arena: Uint8Array,
  payloadStart: number,
  payloadBytes: number,
  key: number,
): number {
  const messageStart = payloadStart - 1 - varintBytes(payloadBytes)
  const messageBytes = payloadStart + payloadBytes - messageStart
  const start = messageStart - KEY_BYTES - 2 - lengthBytes(messageBytes)
  const fits =
    Number.isInteger(payloadStart) &&
    Number.isInteger(payloadBytes) &&
    start >= 0 &&
    payloadBytes >= 0 &&
    payloadBytes <= MAX_CHUNK_BYTES &&
    payloadStart + payloadBytes <= arena.length
  if (!fits) throw new RangeError('the arena cannot hold the frame')
  encodeChunkInto(arena, payloadStart, payloadBytes)
  mask(arena, messageStart, payloadStart + payloadBytes, key)
  writeFrameHeader(arena, start, messageBytes)
  return start
}

/** A masked control frame (RFC 6455 §5.5); its payload is at most 125 bytes. */
export function encodeControlFrame(opcode: ControlOpcode, payload: Uint8Array, key: number): Buffer {
  const start = 2 + KEY_BYTES
  const frame = Buffer.allocUnsafe(start + payload.length)
  frame[0] = FINAL | OPCODES[opcode]
  frame[1] = MASKED | payload.length
  frame.set(payload, start)
  mask(frame, start, frame.length, key)
  return frame
}

export type ControlOpcode = keyof typeof OPCODES

function lengthBytes(messageBytes: number): number {
  return messageBytes < 126 ? 0 : messageBytes < 0x1_0000 ? 2 : 8
}

// All but the key, which `mask` has written.
function writeFrameHeader(arena: Uint8Array, start: number, messageBytes: number): void {
  arena[start] = FINAL_BINARY
  switch (lengthBytes(messageBytes)) {
    case 0:
      arena[start + 1] = MASKED | messageBytes
      return
    case 2:
      arena[start + 1] = MASKED | 126
      writeBigEndian(arena, start + 2, 2, messageBytes)
      return
    default:
      arena[start + 1] = MASKED | 127
      writeBigEndian(arena, start + 2, 4, 0)
      writeBigEndian(arena, start + 6, 4, messageBytes)
  }
}

function writeBigEndian(arena: Uint8Array, at: number, bytes: number, value: number): void {
  for (let i = 0; i < bytes; i++) arena[at + i] = value >>> (8 * (bytes - 1 - i))
}

const FINAL = 0x80
const FINAL_BINARY = 0x82
const OPCODES = { close: 0x8, ping: 0x9, pong: 0xa } as const
const MASKED = 0x80
const KEY_BYTES = 4
// Room for the longest frame header, 2 + 8 + 4, to a multiple of four.
const MESSAGE_START = 16
