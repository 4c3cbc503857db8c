/**
 * Masking (RFC 6455 §5.3), in place, of memory at any alignment: whole words where they are, bytes at the edges.
 *
 * Rule 1: nothing before the key and nothing behind the message is touched.
 * Rule 2: the key's four bytes are those that the number has in this machine's memory, whatever its byte order.
 */

/** Writes the key just before `start` and masks all from there to `end`. */
export function mask(bytes: Uint8Array, start: number, end: number, key: number): void {
  KEY[0] = key
  for (let i = 0; i < 4; i++) bytes[start - 4 + i] = KEY_BYTES[i]!
  // A view of words costs as much as some dozen bytes.
  if (end - start < FEW_BYTES) return maskBytes(bytes, start, start, end)
  const misaligned = (bytes.byteOffset + start) & 3
  const wordsStart = misaligned === 0 ? start : start + 4 - misaligned
  const wordCount = (end - wordsStart) >>> 2
  maskBytes(bytes, start, start, wordsStart)
  maskWords(
    new Int32Array(bytes.buffer, bytes.byteOffset + wordsStart, wordCount),
    rotated(wordsStart - start),
  )
  maskBytes(bytes, start, wordsStart + 4 * wordCount, end)
}

// Four words a turn take two thirds of one word a turn; a sixth of what `ws` takes without its native helper
// (bench/masking.mjs).
function maskWords(words: Int32Array, key: number): void {
  let at = 0
  for (const end = words.length - 3; at < end; at += 4) {
    words[at]! ^= key
    words[at + 1]! ^= key
    words[at + 2]! ^= key
    words[at + 3]! ^= key
  }
  for (; at < words.length; at++) words[at]! ^= key
}

function maskBytes(bytes: Uint8Array, messageStart: number, from: number, to: number): void {
  for (let at = from; at < to; at++) bytes[at]! ^= KEY_BYTES[(at - messageStart) & 3]!
}

// The key as a word sees it that lies `by` bytes into the message.
function rotated(by: number): number {
  if ((by & 3) === 0) return KEY[0]!
  for (let i = 0; i < 4; i++) ROTATED_BYTES[i] = KEY_BYTES[(i + by) & 3]!
  return ROTATED[0]!
}

const KEY = new Int32Array(1)
const KEY_BYTES = new Uint8Array(KEY.buffer)
const ROTATED = new Int32Array(1)
const ROTATED_BYTES = new Uint8Array(ROTATED.buffer)
const FEW_BYTES = 32
