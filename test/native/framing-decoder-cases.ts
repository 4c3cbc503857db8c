/** What decoders take and refuse: data frames, chunks, limits. */
import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { FRAME_EVENT, type Framing } from '#src/platform/framing.js'
import { DEFAULT_MAX_MESSAGE_BYTES } from '#src/wire/index.js'
import { BROKEN_CHUNKS, BROKEN_FRAMES, OVERSIZED, type Violation } from '../conformance/illegal.js'
import { fragments, LEGAL_CHUNKS } from '../conformance/legal.js'
import { chunk, varint } from '../conformance/strict-gateway/chunk.js'
import {
  BINARY,
  CONTINUATION,
  encodeFrame,
  type FrameShape,
  PING,
} from '../conformance/strict-gateway/frames.js'
import { chunkVectors } from '../vectors/load.js'
import { bytewise, offsets } from '../wire/cuts.js'
import { type Decoded, decode, hex } from './decoding.js'
import type { FramingCase } from './framing-suite.js'

const { payload: PAYLOAD, failed: FAILED, closed: CLOSED } = FRAME_EVENT
// Two bytes are enough to refuse these; the rest of BROKEN_FRAMES breaks in the payload of a Close.
const BROKEN_IN_TWO_BYTES = BROKEN_FRAMES.filter(({ title }) => !/a Close (that|with code)/.test(title))

export const DECODER_CASES: readonly FramingCase[] = [
  [
    'a chunk in a frame means what its vector says, however it is cut',
    (framing) => {
      for (const { name, message, cap, expected } of chunkVectors()) {
        const limit = cap ?? DEFAULT_MAX_MESSAGE_BYTES
        const outcome = message.length > limit ? 'ERR_CHUNK_TOO_LARGE' : expected
        const shown = typeof outcome === 'string' ? outcome : hex(outcome)
        everyCut(framing, encodeFrame({ payload: message }), shown, name, limit)
        // In fragments the same, with a ping between.
        const [first, ...rest] = fragments(message, Math.ceil((message.length + 1) / 3))
        if (first === undefined) continue
        const frames = [first, ...rest].flatMap((frame) => [frame, { opcode: PING }])
        everyCut(framing, encodeFrames(...frames), shown, `${name}, in fragments`, limit)
      }
    },
  ],
  [
    'all that protobuf allows is taken, and the next chunk is found',
    (framing) => {
      for (const [title, message, expected] of LEGAL_CHUNKS) {
        const stream = encodeFrames({ payload: message }, { payload: chunk('|') })
        everyCut(framing, stream, hex(`${expected}|`), title)
      }
    },
  ],
  [
    'a violation is refused with its code: what came before it is handed on, nothing after it',
    (framing) => {
      for (const violation of [...BROKEN_FRAMES, ...OVERSIZED, ...BROKEN_CHUNKS]) refuses(framing, violation)
    },
  ],
  [
    'what the first two bytes of a frame break is refused with the second',
    (framing) => {
      assert.equal(BROKEN_IN_TWO_BYTES.length, 13)
      for (const { title, bytes } of BROKEN_IN_TWO_BYTES) {
        // The frame before, where there is one, has only what makes the next one wrong.
        const second = title === 'a message inside another' ? bytes.length / 2 : 0
        const decoder = framing.createDecoder({ maxMessageBytes: 1024 })
        assert.equal(decoder.push(bytes.subarray(0, second + 1)), 0, `${title}: with the first`)
        assert.equal(decoder.push(bytes.subarray(second + 1, second + 2)), FAILED, title)
      }
    },
  ],
  [
    'a chunk is refused at the byte that breaks it',
    (framing) => {
      for (const [message, at] of [
        ['0700', 1],
        ['0200', 1],
        ['2c00', 1],
        ['8a8a8a8a8a00', 5],
        ['0affffffffffffffffff8000', 11],
        ['0a0161120561', 5],
        ['0a05', 2],
      ] as const) {
        const frame = encodeFrame({ payload: Buffer.from(message, 'hex') })
        const decoder = framing.createDecoder({ maxMessageBytes: 1024 })
        assert.equal(decoder.push(frame.subarray(0, 2 + at - 1)), 0, `${message}: before`)
        assert.equal(decoder.push(frame.subarray(2 + at - 1, 2 + at)), FAILED, message)
      }
    },
  ],
  [
    'a message may have as many bytes as the cap says, in one frame or in fragments, and not one more',
    (framing) => {
      const message = chunk(Buffer.alloc(997, 'x'))
      for (const size of [1000, 999, 500, 400, 1]) {
        const stream = encodeFrames(
          ...fragments(message, size).flatMap((frame) => [
            frame,
            { opcode: PING, payload: Buffer.alloc(125) },
          ]),
        )
        everyCut(framing, stream, hex('x'.repeat(997)), `fragments of ${size}`, 1000)
        const { failure, payload } = decode(framing, [stream], 999)
        assert.equal(failure, 'ERR_CHUNK_TOO_LARGE', `fragments of ${size}`)
        assert.equal(payload, '')
      }
      // Each message for itself.
      const many = encodeFrames(...Array.from({ length: 5 }, () => ({ payload: message })))
      assert.equal(decode(framing, [many], 1000).payloadBytes, 5 * 997)
      assert.equal(decode(framing, [encodeFrame(), encodeFrame({ fin: false })], 0).failure, undefined)
      assert.equal(decode(framing, [encodeFrame({ payload: chunk('') })], 1).failure, 'ERR_CHUNK_TOO_LARGE')
    },
  ],
  [
    'a message over the cap is refused with the header that tells it, before payload',
    (framing) => {
      const header = (shape: FrameShape) =>
        encodeFrame({ ...shape, payload: Buffer.alloc(0), claimedBytes: BigInt(shape.claimedBytes!) })
      for (const bytes of [
        header({ claimedBytes: 1001n }),
        header({ claimedBytes: 1001n, lengthForm: 64 }),
        header({ claimedBytes: 1001n, fin: false }),
        Buffer.concat([
          encodeFrame({ fin: false, payload: chunk('x') }),
          header({ claimedBytes: 998n, opcode: CONTINUATION }),
        ]),
      ]) {
        const decoder = framing.createDecoder({ maxMessageBytes: 1000 })
        assert.equal(decoder.push(bytes.subarray(0, -1)), 0)
        assert.equal(decoder.push(bytes.subarray(-1)), FAILED)
        assert.equal(decoder.failure?.code, 'ERR_CHUNK_TOO_LARGE')
      }
    },
  ],
  [
    'lengths of 64 bits are read to 2^53 - 1; over that the protocol is broken',
    (framing) => {
      const codeOf = (claimedBytes: bigint, cap: number) =>
        decode(framing, [encodeFrame({ claimedBytes, lengthForm: 64 })], cap).failure
      const { MAX_SAFE_INTEGER } = Number
      assert.equal(codeOf(2n ** 53n - 1n, MAX_SAFE_INTEGER), undefined)
      assert.equal(codeOf(2n ** 53n - 1n, MAX_SAFE_INTEGER - 1), 'ERR_CHUNK_TOO_LARGE')
      for (const length of [2n ** 53n, 2n ** 53n + 1n, 2n ** 56n, 2n ** 63n - 1n, 2n ** 63n, 2n ** 64n - 1n])
        assert.equal(codeOf(length, MAX_SAFE_INTEGER), 'ERR_GATEWAY_PROTOCOL', `${length}`)
      // Two fragments, each in order, over the cap together: their sum is not taken modulo anything.
      const first = encodeFrame({ fin: false, payload: chunk('x') })
      const rest = encodeFrame({ opcode: CONTINUATION, claimedBytes: 2n ** 53n - 1n })
      assert.equal(decode(framing, [first, rest], MAX_SAFE_INTEGER).failure, 'ERR_CHUNK_TOO_LARGE')
    },
  ],
  [
    'a frame length longer than it need be is taken',
    (framing) => {
      for (const lengthForm of [16, 64] as const) {
        const stream = encodeFrames({ payload: chunk('hello'), lengthForm }, { lengthForm })
        everyCut(framing, stream, hex('hello'), `${lengthForm} bits`)
      }
    },
  ],
  [
    'payload that no later field can replace comes out with the bytes that bring it',
    (framing) => {
      const message = Buffer.concat([Buffer.from('1001', 'hex'), chunk('abc')])
      assert.deepEqual(payloadByByte(framing, encodeFrame({ payload: message })), [
        ...Array(6).fill(''),
        'a',
        'b',
        'c',
      ])
    },
  ],
  [
    'payload that a later field may replace is held to the end of its message, and is not counted before',
    (framing) => {
      const behind = encodeFrame({ payload: Buffer.concat([chunk('abc'), Buffer.from('1001', 'hex')]) })
      assert.deepEqual(payloadByByte(framing, behind), [...Array(behind.length - 1).fill(''), 'abc'])
      const parts = encodeFrames(...fragments(chunk('abc'), 2), { opcode: PING })
      assert.deepEqual(payloadByByte(framing, parts), [...Array(parts.length - 3).fill(''), 'abc', '', ''])

      const decoder = framing.createDecoder({ maxMessageBytes: 1024 })
      decoder.push(behind.subarray(0, -1))
      assert.equal(decoder.payloadBytes, 0)
      decoder.push(behind.subarray(-1))
      assert.equal(decoder.payloadBytes, 3)
    },
  ],
  [
    'messages of no payload raise no event',
    (framing) => {
      for (const frame of [
        encodeFrame({ payload: chunk('') }),
        encodeFrame(),
        encodeFrames({ fin: false }, { opcode: CONTINUATION, fin: false }, { opcode: CONTINUATION }),
      ])
        assert.deepEqual(decode(framing, bytewise(frame)), { ...NOTHING, betweenMessages: true })
    },
  ],
  [
    'bytes end between messages exactly where one ends',
    (framing) => {
      const decoder = framing.createDecoder({ maxMessageBytes: 1 << 20 })
      assert.ok(decoder.betweenMessages, 'before the first byte')
      for (const [shape, ends] of [
        [{ payload: chunk('x') }, true],
        [{}, true],
        [{ opcode: PING }, true],
        [{ opcode: PING, payload: Buffer.alloc(125) }, true],
        [{ fin: false, payload: chunk('x') }, false],
        [{ opcode: PING, payload: Buffer.alloc(2) }, false],
        [{ opcode: CONTINUATION, fin: false }, false],
        [{ opcode: CONTINUATION }, true],
        [{ fin: false }, false],
        [{ opcode: CONTINUATION, payload: chunk(Buffer.alloc(70_000)) }, true],
      ] as [FrameShape, boolean][]) {
        const frame = encodeFrame(shape)
        const cuts = offsets(frame.length - 1).slice(1)
        let at = 0
        for (const cut of cuts) {
          decoder.push(frame.subarray(at, cut))
          at = cut
          assert.ok(!decoder.betweenMessages, `inside, at ${cut}`)
        }
        decoder.push(frame.subarray(at))
        assert.equal(decoder.betweenMessages, ends)
      }
    },
  ],
  [
    'what is held grows with what has come, not with what was announced',
    (framing) => {
      const announced = 2 ** 30
      const message = Buffer.concat([Buffer.from([0x0a]), varint(announced), Buffer.alloc(1000)])
      const opening = encodeFrame({ fin: false, payload: message })
      const before = addressSpace()
      const decoders = Array.from({ length: 64 }, () => {
        const decoder = framing.createDecoder({ maxMessageBytes: 2 * announced })
        assert.equal(decoder.push(opening), 0)
        return decoder
      })
      const grown = addressSpace() - before
      assert.ok(grown < announced, `${decoders.length} decoders took ${grown} bytes`)
    },
  ],
  [
    'a decoder at rest takes little memory, also after a large message that was held',
    (framing) => {
      const held = encodeFrames(...fragments(chunk(Buffer.alloc(300_000)), 100_000))
      const make = (count: number, stream: Buffer) =>
        Array.from({ length: count }, () => {
          const decoder = framing.createDecoder({ maxMessageBytes: 1 << 20 })
          decoder.push(stream)
          decoder.takePayload()
          return decoder
        })
      make(100, encodeFrame({ payload: chunk('x') }))
      const before = process.memoryUsage().rss
      const small = make(5000, encodeFrame({ payload: chunk('x') }))
      const each = (process.memoryUsage().rss - before) / small.length
      assert.ok(each < 8 * 1024, `${each} bytes`)
      const large = make(1000, held)
      const all = process.memoryUsage().rss - before
      assert.ok(all < 150 * 1024 * 1024, `${large.length} decoders that have held: ${all} bytes`)
    },
  ],
  [
    'nonsense is refused before anything is decoded',
    (framing) => {
      const wrong = (value: unknown) => () =>
        framing.createDecoder({ maxMessageBytes: 10 }).push(value as never)
      for (const value of [undefined, null, 'text', 5, {}, []])
        assert.throws(wrong(value), TypeError, `push(${value})`)
      for (const cap of [undefined, -1, '9', Number.NaN])
        assert.throws(() => framing.createDecoder({ maxMessageBytes: cap as number }), TypeError, `${cap}`)
    },
  ],
  [
    'a cap of Infinity is one of 2^53 - 1',
    (framing) => {
      const unlimited = (message: Buffer) =>
        decode(framing, [encodeFrame({ payload: message, fin: false })], Number.POSITIVE_INFINITY).failure
      assert.equal(unlimited(Buffer.concat([Buffer.from([0x0a]), varint(2n ** 53n - 1n)])), undefined)
      for (const length of [2n ** 53n, 2n ** 63n, 2n ** 64n - 1n])
        assert.equal(unlimited(Buffer.concat([Buffer.from([0x0a]), varint(length)])), 'ERR_CHUNK_TOO_LARGE')
      const sent = [encodeFrame({ payload: chunk('x') })]
      assert.equal(decode(framing, sent, Number.POSITIVE_INFINITY).payload, hex('x'))
    },
  ],
]

const NOTHING: Decoded = {
  payload: '',
  events: 0,
  lastPing: undefined,
  payloadBytes: 0,
  closeCode: undefined,
  failure: undefined,
  betweenMessages: undefined,
}

// `outcome` is the payload in hexadecimal, or the code of a refusal that hands nothing on.
function everyCut(framing: Framing, stream: Buffer, outcome: string, name: string, cap?: number): void {
  const refused = outcome.startsWith('ERR_')
  const check = (pieces: readonly Buffer[], how: string) => {
    const { payload, failure, payloadBytes, events } = decode(framing, pieces, cap)
    assert.equal(failure ?? payload, outcome, `${name}, ${how}`)
    assert.equal(payload, refused ? '' : outcome, `${name}, ${how}`)
    assert.equal(payloadBytes, payload.length / 2, `${name}, ${how}: payloadBytes`)
    assert.equal((events & PAYLOAD) !== 0, payloadBytes > 0, `${name}, ${how}: payload`)
    assert.equal((events & FAILED) !== 0, refused, `${name}, ${how}: failed`)
  }
  check([stream], 'whole')
  if (stream.length < 70_000) check(bytewise(stream), 'one byte at a time')
  const cuts = stream.length > 70_000 ? [1, 2, 9, 10, 11, 12, 13, 14, 15, 1000] : offsets(stream.length)
  for (const at of cuts) check([stream.subarray(0, at), stream.subarray(at)], `split at ${at}`)
}

function refuses(framing: Framing, { title, bytes, code }: Violation): void {
  const before = encodeFrame({ payload: chunk('before') })
  const after = encodeFrame({ payload: chunk('after') })
  const stream = Buffer.concat([before, bytes, after])
  const check = (pieces: readonly Buffer[], how: string) => {
    const decoded = decode(framing, pieces)
    assert.deepEqual(
      decoded,
      {
        ...NOTHING,
        payload: hex('before'),
        payloadBytes: 6,
        failure: code,
        events: PAYLOAD | FAILED,
      },
      `${title}, ${how}`,
    )
  }
  check([stream], 'whole')
  check(bytewise(stream), 'one byte at a time')
  for (const at of offsets(stream.length)) check([stream.subarray(0, at), stream.subarray(at)], `at ${at}`)

  const decoder = framing.createDecoder({ maxMessageBytes: DEFAULT_MAX_MESSAGE_BYTES })
  decoder.push(stream)
  assert.ok(decoder.failure?.message, `${title}: says why`)
  assert.equal(decoder.push(after), 0, `${title}: takes no more`)
  assert.equal(Buffer.concat(decoder.takePayload()).toString(), 'before', title)
  assert.equal(decoder.closeCode, undefined, title)
  assert.equal(decoder.failure?.code, code, title)
}

function payloadByByte(framing: Framing, stream: Buffer): string[] {
  const decoder = framing.createDecoder({ maxMessageBytes: 1024 })
  return bytewise(stream).map((byte) => {
    const events = decoder.push(byte)
    const taken = Buffer.concat(decoder.takePayload()).toString()
    assert.equal((events & PAYLOAD) !== 0, taken !== '')
    assert.equal(events & (FAILED | CLOSED), 0)
    return taken
  })
}

function encodeFrames(...shapes: readonly FrameShape[]): Buffer {
  return Buffer.concat(shapes.map((shape) => encodeFrame({ opcode: BINARY, ...shape })))
}

// Of this process, in bytes: memory that was asked for counts before it is touched.
function addressSpace(): number {
  return Number(/^VmSize:\s+(\d+) kB$/m.exec(readFileSync('/proc/self/status', 'utf8'))?.[1]) * 1024
}
