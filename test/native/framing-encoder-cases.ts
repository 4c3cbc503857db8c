/** encodeFrameInto, held against the conformance suite's own writer of frames. */
import assert from 'node:assert/strict'
import { randomFillSync } from 'node:crypto'
import { FRAME_HEADROOM, type Framing } from '#src/platform/framing.js'
import { MAX_CHUNK_BYTES } from '#src/wire/index.js'
import { chunk } from '../conformance/strict-gateway/chunk.js'
import { encodeFrame } from '../conformance/strict-gateway/frames.js'
import type { FramingCase } from './framing-suite.js'

// Each side of where a varint, a frame's length, and a turn of the masking loops grow.
const SMALL = Array.from({ length: 40 }, (_, length) => length)
const EDGES = [119, 120, 121, 122, 123, 124, 125, 126, 127, 128, 129, 16383, 16384, 65530, 65531, 65532]
const LENGTHS = [...SMALL, ...EDGES, 65533, 65536, MAX_CHUNK_BYTES - 1, MAX_CHUNK_BYTES]
const KEYS = [0x12345678, 0, -1, 0xdeadbeef, -0x80000000, 0xff, 1, 0x80000001]

export const ENCODER_CASES: readonly FramingCase[] = [
  [
    'a payload becomes a chunk in a masked frame where it lies, at every length and alignment',
    (framing) => {
      for (const length of LENGTHS) {
        for (let alignment = 0; alignment < 8; alignment++) check(framing, length, alignment)
      }
    },
  ],
  [
    'the headers fit the room that they take to the byte, and one byte less is a RangeError',
    (framing) => {
      for (const length of LENGTHS) {
        const room = expected(Buffer.alloc(length), 0).length - length
        assert.ok(room <= FRAME_HEADROOM)
        assert.equal(framing.encodeFrameInto(Buffer.alloc(room + length), room, length, 1), 0)
        refuses(framing, Buffer.alloc(room + length), room - 1, length)
      }
    },
  ],
  [
    'what does not lie in the arena is a RangeError, and nothing is written',
    (framing) => {
      const arena = () => Buffer.alloc(100, 0xee)
      for (const [start, length] of [
        [20, 81],
        [100, 1],
        [101, 0],
        [-1, 1],
        [20, -1],
        [-(2 ** 31), 4],
        [2 ** 32 + 20, 4],
        [20, 2 ** 32],
        [20, 2 ** 32 + 4],
        [2 ** 53, 4],
        [20, 2 ** 53],
        [Number.NaN, 4],
        [Number.POSITIVE_INFINITY, 4],
      ] as const)
        refuses(framing, arena(), start, length)
      refuses(framing, Buffer.alloc(MAX_CHUNK_BYTES + 100), 20, MAX_CHUNK_BYTES + 1)
      refuses(framing, Buffer.alloc(0), 0, 0)
      assert.equal(framing.encodeFrameInto(arena(), 100, 0, 1), 92, 'a keepalive at the very end')
    },
  ],
]

function check(framing: Framing, length: number, alignment: number): void {
  const key = KEYS[alignment]!
  const payload = randomFillSync(Buffer.alloc(length))
  const memory = new Uint8Array(8 + FRAME_HEADROOM + length + 9).fill(0xee)
  // A view that begins anywhere, and an arena that goes on behind the payload.
  const arena = memory.subarray(alignment, memory.length - 1)
  arena.set(payload, FRAME_HEADROOM)
  const start = framing.encodeFrameInto(arena, FRAME_HEADROOM, length, key)
  const end = FRAME_HEADROOM + length
  const what = `${length} bytes, alignment ${alignment}, key ${key}`
  assert.ok(Buffer.from(arena.subarray(start, end)).equals(expected(payload, key)), what)
  const around = [...memory.subarray(0, alignment + start), ...memory.subarray(alignment + end)]
  assert.ok(
    around.every((byte) => byte === 0xee),
    `${what}: nothing else is touched`,
  )
}

function refuses(framing: Framing, arena: Buffer, start: number, length: number): void {
  const before = Buffer.from(arena)
  assert.throws(() => framing.encodeFrameInto(arena, start, length, 1), RangeError, `${start}, ${length}`)
  assert.ok(arena.equals(before), `${start}, ${length}: untouched`)
}

function expected(payload: Buffer, key: number): Buffer {
  const maskingKey = new Uint8Array(Int32Array.of(key).buffer)
  return encodeFrame({ payload: chunk(payload), maskingKey })
}
