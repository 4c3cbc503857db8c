/**
 * Both implementations of Framing, side by side: whatever one makes of bytes, the other does. Streams are random, valid
 * or damaged, and cut at random; what is compared is all that a FrameDecoder shows, and of a failure its code.
 */
import { randomFillSync } from 'node:crypto'
import fc from 'fast-check'
import t from 'tap'
import { FRAME_HEADROOM, type Framing } from '#src/platform/framing.js'
import { MAX_CHUNK_BYTES } from '#src/wire/index.js'
import { BROKEN_CHUNKS, BROKEN_FRAMES, OVERSIZED } from '../conformance/illegal.js'
import { chunk } from '../conformance/strict-gateway/chunk.js'
import { CLOSE, CONTINUATION, encodeFrame, PING, PONG } from '../conformance/strict-gateway/frames.js'
import { pieces } from '../support/pieces.js'
import { anyCuts, pieces as cutAt } from '../wire/cuts.js'
import { libraryDecode } from '../wire/protobuf.js'
import { anyMessage } from '../wire/random-messages.js'
import { decode } from './decoding.js'
import { FRAMINGS, present, skipping } from './implementations.js'

const RUNS = 1000

interface Stream {
  readonly bytes: Buffer
  /** what its messages carry, in hexadecimal */
  readonly payload: string
}

const anyControl = fc
  .tuple(fc.constantFrom(PING, PONG), fc.uint8Array({ maxLength: 125 }))
  .map(([opcode, payload]) => encodeFrame({ opcode, payload }))

// A message in one frame or in fragments, control frames between, lengths in any form.
const anyFramed: fc.Arbitrary<Stream> = fc
  .tuple(
    anyMessage,
    fc.option(fc.integer({ min: 1, max: 200 }), { nil: undefined }),
    fc.array(anyControl, { maxLength: 3 }),
    fc.constantFrom(undefined, 64 as const),
  )
  .map(([message, size, controls, lengthForm]) => {
    const parts = size === undefined || message.length === 0 ? [message] : pieces(message, size)
    const frames = parts.flatMap((payload, i) => [
      encodeFrame({
        payload,
        opcode: i === 0 ? 0x2 : CONTINUATION,
        fin: i === parts.length - 1,
        ...(lengthForm && { lengthForm }),
      }),
      ...(controls[i] ? [controls[i]] : []),
    ])
    return { bytes: Buffer.concat(frames), payload: libraryDecode(message).toString('hex') }
  })

const anyClose = fc
  .tuple(fc.constantFrom(1000, 1001, 1011, 3000, 4999), fc.string({ maxLength: 20 }))
  .map(([code, reason]) =>
    encodeFrame({ opcode: CLOSE, payload: Buffer.from([code >> 8, code & 0xff, ...Buffer.from(reason)]) }),
  )

const anyStream: fc.Arbitrary<Stream> = fc
  .tuple(fc.array(anyFramed, { maxLength: 6 }), fc.option(anyClose, { nil: Buffer.alloc(0) }))
  .map(([messages, close]) => ({
    bytes: Buffer.concat([...messages.map(({ bytes }) => bytes), close]),
    payload: messages.map(({ payload }) => payload).join(''),
  }))

const violations = [...BROKEN_FRAMES, ...OVERSIZED, ...BROKEN_CHUNKS].map(({ bytes }) => bytes)
// Bytes that mean something somewhere: opcodes, lengths, tags.
const telling = [
  0x00, 0x01, 0x02, 0x08, 0x0a, 0x0b, 0x0c, 0x7e, 0x7f, 0x80, 0x81, 0x82, 0x88, 0x89, 0x8a, 0xff,
]
const anyByte = fc.oneof(fc.nat(255), fc.constantFrom(...telling))
const anyDamage: fc.Arbitrary<(bytes: Buffer) => Buffer> = fc.oneof(
  fc.tuple(fc.nat(), anyByte).map(([at, byte]) => (bytes: Buffer) => {
    if (bytes.length > 0) bytes[at % bytes.length] = byte
    return bytes
  }),
  fc.tuple(fc.nat(), anyByte).map(
    ([at, byte]) =>
      (bytes: Buffer) =>
        inserted(bytes, at, [byte]),
  ),
  fc.nat().map((at) => (bytes: Buffer) => bytes.subarray(0, at % (bytes.length + 1))),
  fc.tuple(fc.nat(), fc.nat(20)).map(
    ([at, length]) =>
      (bytes: Buffer) =>
        Buffer.concat([
          bytes.subarray(0, at % (bytes.length + 1)),
          bytes.subarray((at % (bytes.length + 1)) + length),
        ]),
  ),
  fc.tuple(fc.nat(), fc.constantFrom(...violations)).map(
    ([at, violation]) =>
      (bytes: Buffer) =>
        inserted(bytes, at, violation),
  ),
)

const [typescript, addon] = FRAMINGS.map(({ load }) => load())
const both = skipping(addon!)

t.test('valid streams mean to both what they mean', both, async () => {
  const framings = FRAMINGS.map(({ load }) => present(load()))
  fc.assert(
    fc.property(anyStream, anyCuts, ({ bytes, payload }, cuts) =>
      framings.every((framing) => {
        const decoded = decode(framing, cutAt(bytes, cuts))
        const whole = decode(framing, [bytes])
        return decoded.payload === payload && decoded.failure === undefined && whole.payload === payload
      }),
    ),
    { numRuns: RUNS },
  )
})

t.test('damaged streams are taken and refused alike, in any pieces', both, async (t) => {
  const seen = new Map<string, number>()
  const caps = fc.constantFrom(undefined, undefined, undefined, 0, 10, 200)
  fc.assert(
    fc.property(
      anyStream,
      fc.array(anyDamage, { minLength: 1, maxLength: 3 }),
      anyCuts,
      caps,
      (stream, damage, cuts, cap) => {
        const bytes = damage.reduce<Buffer>((so, damaged) => damaged(so), Buffer.from(stream.bytes))
        const outcome = same(cutAt(bytes, cuts), cap)
        seen.set(outcome, (seen.get(outcome) ?? 0) + 1)
      },
    ),
    { numRuns: 4 * RUNS },
  )
  // The damage is of every kind, or the test is of no use.
  for (const outcome of ['ERR_GATEWAY_PROTOCOL', 'ERR_CHUNK_MALFORMED', 'ERR_CHUNK_TOO_LARGE', 'taken'])
    t.ok((seen.get(outcome) ?? 0) > RUNS / 50, `${outcome}: ${seen.get(outcome)} times`)
})

t.test('streams of any bytes are taken and refused alike', both, async () => {
  const anyBytes = fc.array(anyByte, { maxLength: 60 }).map((bytes) => Buffer.from(bytes))
  fc.assert(
    fc.property(anyBytes, anyCuts, (bytes, cuts) => {
      same(cutAt(bytes, cuts), undefined)
      // With a header that lets them in.
      same(cutAt(encodeFrame({ payload: bytes }), cuts), undefined)
      same(cutAt(encodeFrame({ payload: bytes, fin: false }), cuts), undefined)
    }),
    { numRuns: 4 * RUNS },
  )
})

t.test('large messages come out alike, streamed and held', both, async (t) => {
  const payload = randomFillSync(Buffer.alloc(3 * 1024 * 1024))
  const message = chunk(payload)
  for (const size of [message.length, 1_000_000, 65_536]) {
    const parts = pieces(message, size)
    const stream = Buffer.concat(
      parts.map((part, i) =>
        encodeFrame({ payload: part, opcode: i === 0 ? 0x2 : CONTINUATION, fin: i === parts.length - 1 }),
      ),
    )
    for (const read of [stream.length, 262_144, 65_536, 10_007])
      t.equal(same(pieces(stream, read), undefined), 'taken', `fragments of ${size}, reads of ${read}`)
  }
})

t.test('both write the same frame, and touch nothing else', both, async () => {
  const framings = FRAMINGS.map(({ load }) => present(load()))
  const anyLength = fc.oneof(
    fc.nat(300),
    fc.integer({ min: 65_500, max: 65_560 }),
    fc.integer({ min: 16_370, max: 16_400 }),
    fc.nat(MAX_CHUNK_BYTES),
  )
  const anyKey = fc.oneof(fc.nat(2 ** 32 - 1), fc.integer({ min: -(2 ** 31), max: 2 ** 31 - 1 }))
  fc.assert(
    fc.property(anyLength, fc.nat(40), fc.nat(9), anyKey, (length, slack, offset, key) => {
      const memory = randomFillSync(new Uint8Array(offset + FRAME_HEADROOM + slack + length + 5))
      const [one, other] = framings.map((framing) => {
        const arena = Uint8Array.from(memory).subarray(offset)
        const start = framing.encodeFrameInto(arena, FRAME_HEADROOM + slack, length, key)
        return { start, arena: Buffer.from(arena) }
      })
      return one!.start === other!.start && one!.arena.equals(other!.arena)
    }),
    { numRuns: RUNS },
  )
})

/** Decodes by both; returns the failure's code, or `taken`. */
function same(cut: readonly Buffer[], cap: number | undefined): string {
  const [one, other] = [typescript, addon].map((loaded) => decode(present(loaded as Framing), cut, cap))
  if (JSON.stringify(one) !== JSON.stringify(other))
    throw new Error(`typescript: ${JSON.stringify(one)}\naddon: ${JSON.stringify(other)}`)
  return one!.failure ?? 'taken'
}

function inserted(bytes: Buffer, at: number, more: Uint8Array | readonly number[]): Buffer {
  const place = at % (bytes.length + 1)
  return Buffer.concat([bytes.subarray(0, place), Buffer.from(more as Uint8Array), bytes.subarray(place)])
}
