/** What decoders make of control frames: Close, pings, pongs, between messages and inside them. */
import assert from 'node:assert/strict'
import { isUtf8 } from 'node:buffer'
import { FRAME_EVENT } from '#src/platform/framing.js'
import { chunk } from '../conformance/strict-gateway/chunk.js'
import {
  CLOSE,
  CONTINUATION,
  encodeFrame,
  type FrameShape,
  PING,
  PONG,
} from '../conformance/strict-gateway/frames.js'
import { bytewise, offsets } from '../wire/cuts.js'
import { decode, hex } from './decoding.js'
import type { FramingCase } from './framing-suite.js'

const { payload: PAYLOAD, ping, pong, closed, failed } = FRAME_EVENT

export const CONTROL_CASES: readonly FramingCase[] = [
  [
    'control frames may stand between fragments, however they are cut',
    (framing) => {
      const stream = joined(
        { fin: false, payload: chunk('hello').subarray(0, 4) },
        { opcode: PING, payload: Buffer.from('one') },
        { opcode: CONTINUATION, fin: false },
        { opcode: PONG, payload: Buffer.alloc(125) },
        { opcode: PING, payload: Buffer.alloc(125, 'p') },
        { opcode: CONTINUATION, payload: chunk('hello').subarray(4) },
      )
      const expected = {
        payload: hex('hello'),
        events: PAYLOAD | ping | pong,
        lastPing: hex('p'.repeat(125)),
        payloadBytes: 5,
        closeCode: undefined,
        failure: undefined,
        betweenMessages: true,
      }
      assert.deepEqual(decode(framing, [stream]), expected)
      assert.deepEqual(decode(framing, bytewise(stream)), expected)
      for (const at of offsets(stream.length))
        assert.deepEqual(decode(framing, [stream.subarray(0, at), stream.subarray(at)]), expected)
    },
  ],
  [
    'of a flood of pings the last is kept, once',
    (framing) => {
      const decoder = framing.createDecoder({ maxMessageBytes: 1024 })
      assert.equal(decoder.takePing(), undefined)
      const flood = Array.from({ length: 10_000 }, (_, i) => ({ opcode: PING, payload: Buffer.from(`${i}`) }))
      assert.equal(decoder.push(joined(...flood)), ping)
      assert.equal(decoder.takePing()?.toString(), '9999')
      assert.equal(decoder.takePing(), undefined)
      assert.equal(
        decoder.push(joined({ opcode: PING, payload: Buffer.from('long') }, { opcode: PING })),
        ping,
      )
      assert.deepEqual(decoder.takePing(), Buffer.alloc(0), 'also where it has no bytes')
    },
  ],
  [
    'a ping that was taken is a copy, and half a ping does not disturb the one before',
    (framing) => {
      const decoder = framing.createDecoder({ maxMessageBytes: 1024 })
      const first = joined({ opcode: PING, payload: Buffer.from('first') })
      const second = joined({ opcode: PING, payload: Buffer.from('second') })
      decoder.push(first)
      first.fill(0)
      decoder.push(second.subarray(0, 5))
      const taken = decoder.takePing()
      assert.equal(taken?.toString(), 'first')
      assert.equal(decoder.push(second.subarray(5)), ping)
      assert.equal(taken?.toString(), 'first')
      assert.equal(decoder.takePing()?.toString(), 'second')
    },
  ],
  [
    'events are those of the push that completed them',
    (framing) => {
      const decoder = framing.createDecoder({ maxMessageBytes: 1024 })
      assert.equal(decoder.push(Buffer.alloc(0)), 0)
      assert.equal(decoder.push(joined({ opcode: PONG })), pong)
      assert.equal(decoder.push(joined({ payload: chunk('x') })), PAYLOAD)
      assert.equal(decoder.push(joined({ opcode: PING })), ping)
      assert.equal(decoder.push(Buffer.alloc(0)), 0)
      assert.equal(decoder.push(joined({ payload: chunk('x') }, { opcode: CLOSE })), PAYLOAD | closed)
    },
  ],
  [
    'a Close has a code that may be sent, or none, which is 1005',
    (framing) => {
      for (let code = 0; code < 0x1_0000; code = code === 5100 ? 65_530 : code + 1) {
        const sendable =
          (code >= 3000 && code <= 4999) ||
          (code >= 1000 && code <= 1014 && ![1004, 1005, 1006].includes(code))
        const { closeCode, failure } = decode(framing, [close(code)])
        assert.equal(closeCode, sendable ? code : undefined, `${code}`)
        assert.equal(failure, sendable ? undefined : 'ERR_GATEWAY_PROTOCOL', `${code}`)
      }
      assert.equal(decode(framing, [joined({ opcode: CLOSE })]).closeCode, 1005)
    },
  ],
  [
    'the reason of a Close is UTF-8, to the letter of the standard',
    (framing) => {
      for (const reason of reasons()) {
        const { failure } = decode(framing, [close(1000, reason)])
        assert.equal(failure === undefined, isUtf8(reason), reason.toString('hex'))
      }
      const longest = close(1000, Buffer.from('é'.repeat(61).concat('x')))
      for (const at of offsets(longest.length))
        assert.equal(decode(framing, [longest.subarray(0, at), longest.subarray(at)]).closeCode, 1000)
      // A character that the length cuts short.
      assert.equal(
        decode(framing, [close(1000, Buffer.from('é'.repeat(62)).subarray(0, 123))]).failure,
        'ERR_GATEWAY_PROTOCOL',
      )
    },
  ],
  [
    'what precedes a Close is handed on, what follows is dropped, in the same push and in later ones',
    (framing) => {
      const decoder = framing.createDecoder({ maxMessageBytes: 1024 })
      const stream = joined(
        { payload: chunk('before') },
        { opcode: CLOSE, payload: Buffer.from([0x03, 0xe9]) },
        { payload: chunk('after') },
        { rsv: 0x40 },
      )
      assert.equal(decoder.push(stream), PAYLOAD | closed)
      assert.equal(decoder.closeCode, 1001)
      assert.equal(decoder.push(joined({ opcode: PING }, { opcode: CLOSE })), 0)
      assert.equal(Buffer.concat(decoder.takePayload()).toString(), 'before')
      assert.deepEqual(
        [decoder.failure, decoder.closeCode, decoder.takePing(), decoder.payloadBytes],
        [undefined, 1001, undefined, 6],
      )
      assert.ok(decoder.betweenMessages)
    },
  ],
  [
    'a Close inside a message is a Close, and the message is cut short',
    (framing) => {
      const stream = joined({ fin: false, payload: chunk('held') }, { opcode: CLOSE })
      const { closeCode, payload, betweenMessages } = decode(framing, [stream])
      assert.deepEqual([closeCode, payload, betweenMessages], [1005, '', false])
    },
  ],
  [
    'a Close is no Close before its last byte',
    (framing) => {
      const decoder = framing.createDecoder({ maxMessageBytes: 1024 })
      const frame = close(1000, Buffer.from('bye'))
      for (const byte of bytewise(frame.subarray(0, -1))) {
        assert.equal(decoder.push(byte), 0)
        assert.ok(!decoder.betweenMessages)
      }
      assert.equal(decoder.closeCode, undefined)
      assert.equal(decoder.push(frame.subarray(-1)), closed)
    },
  ],
  [
    'a control frame of 125 bytes is taken, one of 126 refused, in either form of its length',
    (framing) => {
      for (const opcode of [PING, PONG, CLOSE]) {
        const payload = Buffer.alloc(125, 0x40)
        payload.writeUInt16BE(1000)
        assert.equal(decode(framing, [joined({ opcode, payload })]).failure, undefined)
        for (const shape of [{ payload: Buffer.alloc(126) }, { lengthForm: 16 as const }])
          assert.equal(
            decode(framing, [joined({ opcode, ...shape })]).failure,
            'ERR_GATEWAY_PROTOCOL',
            `opcode ${opcode}`,
          )
        assert.equal(decode(framing, [joined({ opcode, fin: false })]).events, failed)
      }
    },
  ],
]

function joined(...shapes: readonly FrameShape[]): Buffer {
  return Buffer.concat(shapes.map((shape) => encodeFrame(shape)))
}

function close(code: number, reason: Uint8Array = Buffer.alloc(0)): Buffer {
  return joined({ opcode: CLOSE, payload: Buffer.concat([Buffer.from([code >> 8, code & 0xff]), reason]) })
}

// All sequences of three of the bytes at which the table of well-formed UTF-8 changes, and of four that begin as such.
function* reasons(): Generator<Buffer> {
  for (const a of UTF8_EDGES)
    for (const b of UTF8_EDGES)
      for (const c of UTF8_EDGES) {
        yield Buffer.from([a, b, c])
        if (a < 0xf0) continue
        for (const d of UTF8_EDGES) yield Buffer.from([a, b, c, d])
      }
}

const UTF8_EDGES = [
  0x00, 0x41, 0x7f, 0x80, 0x8f, 0x90, 0x9f, 0xa0, 0xbf, 0xc0, 0xc1, 0xc2, 0xdf, 0xe0, 0xe1, 0xec, 0xed, 0xee,
  0xef, 0xf0, 0xf1, 0xf3, 0xf4, 0xf5, 0xff,
]
