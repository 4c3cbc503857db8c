import { randomFillSync } from 'node:crypto'
import { readFileSync } from 'node:fs'
import type { Writable } from 'node:stream'
import fc from 'fast-check'
import t from 'tap'
import * as ws from 'ws'
import { encodeChunkFrame } from '#src/wire/client-frame.js'
import { encodeChunk, MAX_CHUNK_BYTES } from '#src/wire/index.js'
import { anyCuts, pieces } from './cuts.js'

// Exported by `ws`, unknown to its types.
const { Receiver } = ws as unknown as {
  Receiver: new (options: { isServer: boolean; maxPayload: number }) => Writable
}

// Payloads whose message (two to four bytes more) falls on each side of where frame headers grow.
const edges = [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 120, 121, 122, 123, 124, 125, 126, 127, 128, 129, 65530, 65531]
const lengths = [...edges, 65532, 65533, 65534, 65535, 65536, 65537, MAX_CHUNK_BYTES - 1, MAX_CHUNK_BYTES]
const keys = [0, 1, -1, 0x12345678, -0x12345678, 0x7fffffff, -0x80000000, 0x000000ff]

t.test('a server reads the chunk that went in, at every length and alignment', async (t) => {
  const memory = randomFillSync(Buffer.alloc(MAX_CHUNK_BYTES + 8))
  for (const payloadBytes of lengths) {
    const wrong: string[] = []
    for (let alignment = 0; alignment < 8; alignment++) {
      const payload = memory.subarray(alignment, alignment + payloadBytes)
      const key = keys[alignment] ?? 0
      const [message, ...more] = received([encodeChunkFrame(payload, key)])
      const same = message?.equals(encodeChunk(payload)) && more.length === 0
      if (!same) wrong.push(`alignment ${alignment}, key ${key}`)
    }
    t.strictSame(wrong, [], `${payloadBytes} bytes`)
  }
})

t.test('a frame is final, binary, masked, and no longer than it must be', async (t) => {
  for (const payloadBytes of lengths) {
    const messageBytes = encodeChunk(Buffer.alloc(payloadBytes)).length
    const frame = encodeChunkFrame(Buffer.alloc(payloadBytes), 0x01020304)
    const lengthBytes = messageBytes < 126 ? 0 : messageBytes < 65536 ? 2 : 8
    t.equal(frame[0], 0x82, `${payloadBytes} bytes: first byte`)
    t.equal(frame[1], 0x80 | (lengthBytes === 0 ? messageBytes : lengthBytes === 2 ? 126 : 127))
    t.equal(frame.length, 2 + lengthBytes + 4 + messageBytes, `${payloadBytes} bytes: whole`)
  }
})

t.test('the frame in docs/protocol.md is what it says', async (t) => {
  const document = readFileSync(new URL('../../docs/protocol.md', import.meta.url), 'utf8')
  const [, written = ''] = /^ {4}(82 87 37 fa 21 3d [0-9a-f ]+)$/m.exec(document) ?? []
  const [key = 0] = new Int32Array(Uint8Array.of(0x37, 0xfa, 0x21, 0x3d).buffer)
  t.equal(encodeChunkFrame(Buffer.from('hello'), key).toString('hex'), written.replaceAll(' ', ''))
})

t.test('every byte of the message is masked with the key that the frame carries', async () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 200 }), anyKey, (payload, key) => {
      const frame = encodeChunkFrame(payload, key)
      const message = encodeChunk(payload)
      const masked = frame.subarray(frame.length - message.length)
      const keyBytes = frame.subarray(frame.length - message.length - 4, frame.length - message.length)
      const written = [keyBytes.readInt32LE(), keyBytes.readInt32BE()]
      return written.includes(key) && masked.every((byte, at) => (byte ^ keyBytes[at % 4]!) === message[at])
    }),
  )
})

t.test('the payload stays as it was, and the frame owns its memory', async () => {
  fc.assert(
    fc.property(fc.uint8Array({ minLength: 1, maxLength: 300 }), anyKey, (payload, key) => {
      const before = Buffer.from(payload)
      const frame = encodeChunkFrame(payload, key)
      const unchanged = before.equals(payload)
      payload.fill(0)
      const [message] = received([frame])
      return unchanged && message?.equals(encodeChunk(before)) === true
    }),
  )
})

t.test('frames one after another, in any pieces, stay the messages they were', async () => {
  const payload = fc.oneof(
    fc.uint8Array({ maxLength: 300 }),
    fc.integer({ min: 65000, max: 66000 }).map((length) => randomFillSync(new Uint8Array(length))),
  )
  fc.assert(
    fc.property(fc.array(fc.tuple(payload, anyKey), { maxLength: 5 }), anyCuts, (sent, cuts) => {
      const stream = Buffer.concat(sent.map(([payload, key]) => encodeChunkFrame(payload, key)))
      const messages = received(pieces(stream, cuts))
      const expected = sent.map(([payload]) => encodeChunk(payload))
      return messages.length === expected.length && expected.every((chunk, at) => messages[at]?.equals(chunk))
    }),
  )
})

// What `ws` makes of a client's frames, as a server: it checks masking, reserved bits, lengths and opcodes.
function received(pushes: readonly Buffer[]): Buffer[] {
  const receiver = new Receiver({ isServer: true, maxPayload: 64 * 1024 * 1024 })
  const messages: Buffer[] = []
  receiver.on('message', (data: Buffer, isBinary: boolean) => {
    if (!isBinary) throw new Error('a text message')
    messages.push(Buffer.from(data))
  })
  receiver.on('error', (error) => {
    throw error
  })
  // The receiver unmasks in place: what is sent is not lent.
  for (const bytes of pushes) receiver.write(Buffer.from(bytes))
  return messages
}

const anyKey = fc.oneof(fc.integer({ min: -(2 ** 31), max: 2 ** 31 - 1 }), fc.constantFrom(...keys))
