import { readFileSync } from 'node:fs'
import { BinaryReader, WireType } from '@bufbuild/protobuf/wire'
import fc from 'fast-check'
import t from 'tap'
import { ProxyError } from '#src/errors.js'
import {
  CHUNK_HEADROOM,
  ChunkDecoder,
  type ChunkDecoderOptions,
  DEFAULT_MAX_MESSAGE_BYTES,
  decodeChunk,
  encodeChunk,
  encodeChunkInto,
  KEEPALIVE,
  MAX_CHUNK_BYTES,
} from '#src/wire/index.js'
import { type ChunkVector, chunkVectors } from '../vectors/load.js'
import { anyCuts, bytewise, offsets, pieces } from './cuts.js'
import { libraryDecode, libraryEncode } from './protobuf.js'
import { anyMessage, anyPayload, anyUnknownField, unknownOf } from './random-messages.js'

const vectors = chunkVectors()

t.test('a whole message gives its payload, or its code', async (t) => {
  for (const vector of vectors) t.equal(whole(vector), expectedOf(vector), vector.name)
})

t.test('a payload is a view of the message, not a copy', async (t) => {
  for (const { name, message, expected } of vectors) {
    if (!Buffer.isBuffer(expected) || expected.length === 0) continue
    const payload = decodeChunk(message)
    t.equal(payload.buffer, message.buffer, name)
    const start = payload.byteOffset - message.byteOffset
    t.ok(start > 0 && start + payload.length <= message.length, `${name}: inside the message`)
  }
  const inside = new Uint8Array([0xff, 0x0a, 0x01, 0x61, 0xff]).subarray(1, 4)
  t.equal(decodeChunk(inside).toString(), 'a', 'also of a Uint8Array that is part of a larger one')
  t.equal(decodeChunk(inside).buffer, inside.buffer)
})

t.test('the streaming decoder gives the same, however the message was cut', async (t) => {
  for (const vector of vectors) {
    const { name, message, cap } = vector
    const expected = expectedOf(vector)
    for (const options of [{}, { messageBytes: message.length }]) {
      const how = `${name} (length ${'messageBytes' in options ? 'known' : 'not known'})`
      const fed = (pushes: readonly Uint8Array[]) => streamed(pushes, capped(cap, options)).outcome
      t.equal(fed([message]), expected, how)
      t.equal(fed(bytewise(message)), expected, `${how}: one byte at a time`)
      const wrong = offsets(message.length).filter(
        (at) => fed([message.subarray(0, at), message.subarray(at)]) !== expected,
      )
      t.strictSame(wrong, [], `${how}: split`)
    }
  }
})

t.test('a message cut short never passes for a whole one', async (t) => {
  for (const vector of vectors) {
    const { name, message, cap } = vector
    const wrong = offsets(message.length - 1).filter((end) => {
      const short = message.subarray(0, end)
      const pushes = short.length > 1024 ? [short] : bytewise(short)
      const known = streamed(pushes, capped(cap, { messageBytes: message.length })).outcome
      if (!isRefusal(known)) return true
      const seen = whole({ message: short, cap })
      if (streamed(pushes, capped(cap, {})).outcome !== seen) return true
      // Cut between two fields it is a message of its own, if one without a framing: so the library says too.
      return vector.library === undefined && !agree(seen, libraryOutcome(short))
    })
    t.strictSame(wrong, [], name)
  }
})

t.test('what a refused message gave out before its refusal is nothing', async (t) => {
  for (const { name, message, cap, expected } of vectors) {
    if (Buffer.isBuffer(expected)) continue
    for (const options of [{}, { messageBytes: message.length }])
      t.equal(streamed(bytewise(message), capped(cap, options)).given, 0, name)
  }
})

t.test('a payload comes out while its message still arrives, where the length is known', async (t) => {
  const decoder = new ChunkDecoder({ messageBytes: 7 })
  const early = [Buffer.from('1001', 'hex'), Buffer.from('0a0361', 'hex'), Buffer.from('b'), Buffer.from('c')]
  t.strictSame(
    early.map((bytes) => decoder.push(bytes).map(String)),
    [[], ['a'], ['b'], ['c']],
  )
  t.strictSame(decoder.end(), [])

  const pushed = Buffer.from('0a03616263', 'hex')
  const [view] = new ChunkDecoder({ messageBytes: 5 }).push(pushed)
  t.equal(view?.buffer, pushed.buffer, 'as a view of what was pushed')
})

t.test('a payload that a later field may replace is held, and survives its pushed bytes', async (t) => {
  const pushed = Buffer.from('0a03616263', 'hex')
  const decoder = new ChunkDecoder()
  t.strictSame(decoder.push(pushed), [])
  pushed.fill(0)
  t.equal(Buffer.concat(decoder.end()).toString(), 'abc')
})

t.test('a length is refused before anything is allocated for it', async (t) => {
  for (const hex of ['0a81808008', '0a8080808008', '0affffffffffffffffff01', '128080808008']) {
    const message = Buffer.from(hex, 'hex')
    const grown = bytesAllocatedBy(() => {
      t.throws(() => decodeChunk(message), { code: 'ERR_CHUNK_TOO_LARGE' }, hex)
      t.throws(() => new ChunkDecoder().push(message), { code: 'ERR_CHUNK_TOO_LARGE' }, `${hex}, streaming`)
    })
    t.ok(grown < 1024 * 1024, `${hex}: ${grown} bytes`)
  }
  const allowed = new ChunkDecoder({ maxBytes: 2 ** 30, messageBytes: 2 ** 30 + 6 })
  const grown = bytesAllocatedBy(() => allowed.push(Buffer.from('0a8080808004', 'hex')))
  t.ok(grown < 1024 * 1024, `a length under the cap allocates only what arrives: ${grown} bytes`)
})

t.test('the default cap is 16 MiB, to the byte', async (t) => {
  t.equal(DEFAULT_MAX_MESSAGE_BYTES, 16 * 1024 * 1024)
  const atCap = Buffer.alloc(16 * 1024 * 1024 + 5)
  atCap.set([0x0a, 0x80, 0x80, 0x80, 0x08])
  t.equal(decodeChunk(atCap).length, DEFAULT_MAX_MESSAGE_BYTES)
})

t.test('an encoder writes 0a, a minimal varint, the payload', async (t) => {
  const headers = [
    [0, '0a00'],
    [1, '0a01'],
    [127, '0a7f'],
    [128, '0a8001'],
    [16383, '0aff7f'],
    [16384, '0a808001'],
    [2097151, '0affff7f'],
    [2097152, '0a80808001'],
    [MAX_CHUNK_BYTES, '0a808020'],
  ] as const
  for (const [payloadBytes, header] of headers) {
    const payload = Buffer.alloc(payloadBytes, 'x')
    const chunk = encodeChunk(payload)
    t.equal(chunk.toString('hex', 0, header.length / 2), header, `${payloadBytes} bytes`)
    t.ok(chunk.subarray(header.length / 2).equals(payload), `${payloadBytes} bytes: payload`)
  }
  t.equal(KEEPALIVE.toString('hex'), '0a00')
  t.equal(MAX_CHUNK_BYTES, 512 * 1024)
})

t.test('encoding in place gives what plain encoding gives, and touches nothing else', async () => {
  fc.assert(
    fc.property(anyPayload, fc.nat(40), (payload, slack) => {
      const payloadStart = CHUNK_HEADROOM + slack
      const buffer = Buffer.alloc(payloadStart + payload.length + 3, 0xee)
      buffer.set(payload, payloadStart)
      const start = encodeChunkInto(buffer, payloadStart, payload.length)
      const end = payloadStart + payload.length
      const untouched = [...buffer.subarray(0, start), ...buffer.subarray(end)].every((byte) => byte === 0xee)
      return start >= slack && untouched && buffer.subarray(start, end).equals(encodeChunk(payload))
    }),
  )
})

t.test('encoding in place needs as much room as the header takes, and no more', async (t) => {
  t.equal(encodeChunkInto(Buffer.alloc(10), 2, 8), 0)
  t.throws(() => encodeChunkInto(Buffer.alloc(10), 1, 8), { code: 'ERR_INTERNAL' })
  t.equal(encodeChunkInto(Buffer.alloc(CHUNK_HEADROOM), CHUNK_HEADROOM, 2 ** 31 - 1), 0)
})

t.test('what is encoded is decoded to the same', async () => {
  fc.assert(
    fc.property(anyPayload, anyCuts, (payload, cuts) => {
      const chunk = encodeChunk(payload)
      const { outcome } = streamed(pieces(chunk, cuts), { messageBytes: chunk.length })
      return decodeChunk(chunk).equals(payload) && outcome === Buffer.from(payload).toString('hex')
    }),
  )
})

t.test('the protobuf library agrees with every vector but those that say why not', async (t) => {
  for (const vector of vectors) {
    const agrees = agree(expectedOf(vector), libraryOutcome(vector.message))
    if (vector.library === undefined) t.ok(agrees, vector.name)
    else t.notOk(agrees, `${vector.name}: the library ${vector.library}`)
  }
})

t.test('the library reads what we write, and we what it writes', async () => {
  const unknown = fc.array(anyUnknownField, { maxLength: 6 }).map((fields) => fields.flatMap(unknownOf))
  fc.assert(
    fc.property(anyPayload, unknown, (payload, fields) => {
      const chunk = encodeChunk(payload)
      // proto3 leaves an empty field out; a keepalive is written all the same.
      const same = payload.length === 0 || libraryEncode(payload).equals(chunk)
      const theirs = libraryEncode(payload, fields)
      return same && libraryDecode(chunk).equals(payload) && decodeChunk(theirs).equals(payload)
    }),
  )
})

t.test(
  'random messages with unknown fields, groups and several payloads mean the same to the library',
  async () => {
    fc.assert(
      fc.property(anyMessage, anyCuts, (message, cuts) => {
        const expected = libraryDecode(message).toString('hex')
        const options = { messageBytes: message.length }
        return (
          decodeChunk(message).toString('hex') === expected &&
          streamed(pieces(message, cuts), options).outcome === expected &&
          streamed(pieces(message, cuts), {}).outcome === expected
        )
      }),
      { numRuns: 1000 },
    )
  },
)

t.test('damaged messages are taken or refused as the library does, in any pieces', async () => {
  const edit = fc.tuple(
    fc.nat(),
    fc.oneof(fc.nat(255), fc.constantFrom(0x00, 0x08, 0x0a, 0x0b, 0x0c, 0x80, 0xff)),
  )
  const damaged = fc
    .tuple(anyMessage, fc.array(edit, { maxLength: 4 }), fc.nat())
    .map(([message, edits, end]) => {
      const bytes = Buffer.from(message.subarray(0, end % 4 === 0 ? end % (message.length + 1) : undefined))
      for (const [at, byte] of edits) if (bytes.length > 0) bytes[at % bytes.length] = byte
      return bytes
    })
  const anyBytes = fc.oneof(
    damaged,
    fc.uint8Array({ maxLength: 40 }).map((bytes) => Buffer.from(bytes)),
  )
  fc.assert(
    fc.property(anyBytes, anyCuts, (bytes, cuts) => {
      const seen = whole({ message: bytes, cap: undefined })
      for (const options of [{}, { messageBytes: bytes.length }])
        if (streamed(pieces(bytes, cuts), options).outcome !== seen)
          throw new Error('cuts changed the outcome')
      // Of varints over 32 bits the library drops what does not fit.
      return hasLongVarint(bytes) || agree(seen, walkedOutcome(bytes))
    }),
    { numRuns: 2000 },
  )
})

t.test('the examples of docs/protocol.md are what they say', async (t) => {
  const document = readFileSync(new URL('../../docs/protocol.md', import.meta.url), 'utf8')
  const examples = [...document.matchAll(/\| `((?:[0-9a-f]{2} ?)+)` \| (?:`([^`]*)`|nothing|refused)/g)]
  t.ok(examples.length >= 15)
  for (const [row, hex = '', text = ''] of examples) {
    const message = Buffer.from(hex.replaceAll(' ', ''), 'hex')
    const seen = whole({ message, cap: undefined })
    if (row.endsWith('refused')) t.match(seen, /^ERR_CHUNK_/, row)
    else t.equal(seen, Buffer.from(text.replaceAll('\\r\\n', '\r\n')).toString('hex'), row)
  }
})

interface Outcome {
  /** the payload in hexadecimal, or the code of the refusal */
  readonly outcome: string
  /** payload bytes that came out before the end or the refusal */
  readonly given: number
}

function streamed(pushes: readonly Uint8Array[], options: ChunkDecoderOptions): Outcome {
  const given: Buffer[] = []
  try {
    const decoder = new ChunkDecoder(options)
    for (const bytes of pushes) given.push(...decoder.push(bytes))
    const before = bytesIn(given)
    return { outcome: Buffer.concat([...given, ...decoder.end()]).toString('hex'), given: before }
  } catch (error) {
    return { outcome: codeOf(error), given: bytesIn(given) }
  }
}

function whole({ message, cap }: Pick<ChunkVector, 'message' | 'cap'>): string {
  try {
    return decodeChunk(message, cap).toString('hex')
  } catch (error) {
    return codeOf(error)
  }
}

function expectedOf({ expected }: ChunkVector): string {
  return typeof expected === 'string' ? expected : expected.toString('hex')
}

function isRefusal(outcome: string): boolean {
  return outcome.startsWith('ERR_CHUNK_')
}

// The library knows no codes and no caps: a length over ours is, in a short message, over its end too.
function agree(outcome: string, library: string): boolean {
  return isRefusal(outcome) ? isRefusal(library) : outcome === library
}

function hasLongVarint(bytes: Buffer): boolean {
  return bytes.some(
    (_, at) => at + 5 <= bytes.length && bytes.subarray(at, at + 5).every((byte) => byte >= 0x80),
  )
}

function libraryOutcome(message: Uint8Array): string {
  try {
    return libraryDecode(message).toString('hex')
  } catch {
    // Whatever the library throws, it refuses the message.
    return 'ERR_CHUNK_MALFORMED'
  }
}

// The library's own reader, and protobuf's rule that it leaves out: a known field of another wire type is unknown.
function walkedOutcome(message: Uint8Array): string {
  try {
    const reader = new BinaryReader(message)
    let data: Uint8Array = new Uint8Array()
    while (reader.pos < reader.len) {
      const [number, wireType] = reader.tag()
      if (number === 1 && wireType === WireType.LengthDelimited) data = reader.bytes()
      else reader.skip(wireType, number)
    }
    return Buffer.from(data).toString('hex')
  } catch {
    // As above.
    return 'ERR_CHUNK_MALFORMED'
  }
}

function codeOf(error: unknown): string {
  if (error instanceof ProxyError) return error.code
  throw error
}

function capped(cap: number | undefined, options: ChunkDecoderOptions): ChunkDecoderOptions {
  return cap === undefined ? options : { ...options, maxBytes: cap }
}

function bytesIn(buffers: readonly Buffer[]): number {
  return buffers.reduce((sum, { length }) => sum + length, 0)
}

// Memory outside the heap that is there after, and was not before: garbage collection can only make it less.
function bytesAllocatedBy(work: () => void): number {
  const before = process.memoryUsage().arrayBuffers
  work()
  return process.memoryUsage().arrayBuffers - before
}
