/**
 * `UpstreamProxyChunk { bytes data = 1; }` from the protocol's text: what a sender may write, and all that a
 * receiver must take.
 */

/** largest payload that the relay may send in a chunk, in bytes */
export const MAX_SENT_PAYLOAD_BYTES = 512 * 1024

/**
 * The payload of a message that must be exactly `0a`, a minimal varint, and as many bytes; otherwise what is wrong
 * with it.
 */
export function readChunkStrictly(message: Buffer): { payload: Buffer } | { fault: string } {
  if (message.length === 0) return { fault: 'a message of no bytes: a keepalive is exactly 0a 00' }
  if (message[0] !== DATA_TAG)
    return { fault: `a message that begins with 0x${message[0]!.toString(16)}, not 0a` }
  let length = 0
  let at = 1
  for (let shift = 0; ; shift += 7) {
    const byte = message[at++]
    if (byte === undefined) return { fault: 'a message that ends inside its length' }
    if (shift > 28) return { fault: 'a length of more than five bytes' }
    length += (byte & 0x7f) * 2 ** shift
    if (byte >= 0x80) continue
    if (byte === 0 && shift > 0) return { fault: 'a length whose varint is not minimal' }
    break
  }
  const payload = message.subarray(at)
  if (payload.length !== length) {
    return { fault: `a length of ${length} before ${payload.length} bytes: a message is exactly one chunk` }
  }
  if (length > MAX_SENT_PAYLOAD_BYTES) return { fault: `a payload of ${length} bytes, over 512 KiB` }
  return { payload }
}

/** A chunk as it should be. */
export function chunk(payload: Uint8Array | string): Buffer {
  const data = Buffer.from(payload as Uint8Array)
  return Buffer.concat([Buffer.from([DATA_TAG]), varint(data.length), data])
}

/** A varint of at least `minBytes` bytes: more than it needs is legal protobuf. */
export function varint(value: number | bigint, minBytes = 1): Buffer {
  const bytes: number[] = []
  let left = BigInt(value)
  do {
    const more = left > 0x7fn || bytes.length + 1 < minBytes
    bytes.push(Number(left & 0x7fn) | (more ? 0x80 : 0))
    left >>= 7n
  } while (left > 0n || bytes.length < minBytes)
  return Buffer.from(bytes)
}

const DATA_TAG = 0x0a
