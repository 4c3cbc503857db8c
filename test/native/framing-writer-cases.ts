/** What decoders do with a writer, and without one. The writer here only notes what it was told. */
import assert from 'node:assert/strict'
import { FRAME_EVENT } from '#src/platform/framing.js'
import type { SocketWriter } from '#src/platform/socket-writer.js'
import { fragments } from '../conformance/legal.js'
import { chunk } from '../conformance/strict-gateway/chunk.js'
import { CLOSE, encodeFrame, PING } from '../conformance/strict-gateway/frames.js'
import { bytewise } from '../wire/cuts.js'
import type { FramingCase } from './framing-suite.js'

const { payload: PAYLOAD, queued, failed, closed, ping } = FRAME_EVENT

export const WRITER_CASES: readonly FramingCase[] = [
  [
    'the payload of a push goes to its writer in one write, in order, and nothing waits to be taken',
    (framing) => {
      const writer = new NotingWriter()
      const decoder = framing.createDecoder({ maxMessageBytes: 1 << 20 })
      const words = Array.from({ length: 500 }, (_, i) => `word ${i}, `.repeat(1 + (i % 90)))
      const stream = Buffer.concat([
        ...words.map((word) => encodeFrame({ payload: chunk(word) })),
        ...fragments(chunk('held'), 2).map((frame) => encodeFrame(frame)),
        encodeFrame({ payload: chunk('last') }),
      ])
      assert.equal(decoder.push(stream, writer), PAYLOAD)
      assert.deepEqual(writer.writes, [`${words.join('')}heldlast`])
      assert.deepEqual(decoder.takePayload(), [])
      assert.equal(decoder.payloadBytes, writer.writes.join('').length)
    },
  ],
  [
    'a push without payload writes nothing',
    (framing) => {
      const writer = new NotingWriter()
      const decoder = framing.createDecoder({ maxMessageBytes: 1024 })
      const stream = Buffer.concat([encodeFrame({ payload: chunk('') }), encodeFrame({ opcode: PING })])
      assert.equal(decoder.push(stream, writer), ping)
      assert.deepEqual(writer.writes, [])
    },
  ],
  [
    'a writer that holds a queue is told of',
    (framing) => {
      const writer = new NotingWriter()
      const decoder = framing.createDecoder({ maxMessageBytes: 1024 })
      writer.queuedBytes = 1
      assert.equal(decoder.push(encodeFrame({ payload: chunk('x') }), writer), PAYLOAD | queued)
      writer.queuedBytes = 0
      assert.equal(decoder.push(encodeFrame({ payload: chunk('x') }), writer), PAYLOAD)
    },
  ],
  [
    'pushes with a writer and without one may take turns',
    (framing) => {
      const writer = new NotingWriter()
      const decoder = framing.createDecoder({ maxMessageBytes: 1024 })
      const stream = bytewise(encodeFrame({ payload: chunk('abcdef') }))
      stream.forEach((byte, i) => void decoder.push(byte, i % 2 === 0 ? writer : undefined))
      assert.equal(writer.writes.join(''), 'ace')
      assert.equal(Buffer.concat(decoder.takePayload()).toString(), 'bdf')
      assert.deepEqual(decoder.takePayload(), [])
    },
  ],
  [
    'payload before a violation or a Close is written all the same',
    (framing) => {
      for (const [last, event] of [
        [encodeFrame({ rsv: 0x40 }), failed],
        [encodeFrame({ payload: Buffer.from([0x0a, 0x05]) }), failed],
        [encodeFrame({ opcode: CLOSE }), closed],
      ] as const) {
        const writer = new NotingWriter()
        const decoder = framing.createDecoder({ maxMessageBytes: 1024 })
        const stream = Buffer.concat([encodeFrame({ payload: chunk('before') }), last])
        assert.equal(decoder.push(stream, writer), PAYLOAD | event)
        assert.deepEqual(writer.writes, ['before'])
      }
    },
  ],
  [
    'what the writer throws is thrown',
    (framing) => {
      const broken = new NotingWriter()
      broken.failure = Object.assign(new Error('write: EPIPE'), { code: 'EPIPE' })
      const decoder = framing.createDecoder({ maxMessageBytes: 1024 })
      const frame = encodeFrame({ payload: chunk('abc') })
      assert.equal(decoder.push(frame.subarray(0, 4), broken), 0, 'no payload yet, no write')
      assert.throws(() => decoder.push(frame.subarray(4), broken), broken.failure)
      // Of no use any more, and no harm either.
      decoder.push(frame)
      decoder.takePayload()
    },
  ],
  [
    'what was taken stays as it is when the pushed bytes change',
    (framing) => {
      const decoder = framing.createDecoder({ maxMessageBytes: 1024 })
      const stream = Buffer.concat([
        encodeFrame({ payload: chunk('stream') }),
        ...fragments(chunk('held'), 3).map((frame) => encodeFrame(frame)),
      ])
      decoder.push(stream)
      stream.fill(0)
      assert.equal(Buffer.concat(decoder.takePayload()).toString(), 'streamheld')
    },
  ],
]

class NotingWriter implements SocketWriter {
  readonly writes: string[] = []
  queuedBytes = 0
  failure: Error | undefined

  write(pieces: readonly Uint8Array[]): number {
    if (this.failure) throw this.failure
    this.writes.push(Buffer.concat(pieces).toString())
    return this.queuedBytes
  }

  end(): void {
    throw new Error('nobody asked for an end')
  }

  destroy(): void {
    throw new Error('nobody asked for destruction')
  }
}
