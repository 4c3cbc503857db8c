/** What a gateway may send within the protocol, however odd: ways to cut its bytes, and forms of a chunk. */
import { pause } from '../support/deadline.js'
import { pieces } from '../support/pieces.js'
import { chunk, varint } from './strict-gateway/chunk.js'
import { ESTABLISHED, type GatewayConnection } from './strict-gateway/connection.js'
import { BINARY, CONTINUATION, encodeFrame, type FrameShape, PING } from './strict-gateway/frames.js'

/** Sends these bytes down, in chunks and frames of its own choice. */
export type Send = (tunnel: GatewayConnection, down: Buffer) => Promise<void> | void

export const CUTS: readonly (readonly [title: string, send: Send])[] = [
  ['one chunk', (tunnel, down) => tunnel.send(down)],
  [
    'chunks of one byte, a segment each at first',
    async (tunnel, down) => {
      for (let i = 0; i < down.length; i++) {
        tunnel.send(down.subarray(i, i + 1))
        if (i < ESTABLISHED.length) await pause(0)
      }
    },
  ],
  [
    'many chunks in one segment, keepalives between',
    (tunnel, down) => {
      const frames = pieces(down, 13).flatMap((piece) => [chunk(piece), chunk(''), Buffer.alloc(0)])
      tunnel.raw(Buffer.concat(frames.map((payload) => encodeFrame({ payload }))))
    },
  ],
  [
    'one chunk over many segments',
    async (tunnel, down) => {
      for (const piece of pieces(encodeFrame({ payload: chunk(down) }), 50)) {
        tunnel.raw(piece)
        await pause(0)
      }
    },
  ],
  [
    'one chunk over many fragments, empty ones and pings between',
    (tunnel, down) => {
      for (const frame of fragments(chunk(down), 100)) {
        tunnel.frame(frame)
        if (frame.fin === true) continue
        tunnel.frame({ opcode: PING, payload: Buffer.from('between') })
        tunnel.frame({ opcode: CONTINUATION, fin: false })
      }
    },
  ],
  [
    'fragments of one byte',
    (tunnel, down) =>
      tunnel.raw(Buffer.concat([...fragments(chunk(down), 1)].map((frame) => encodeFrame(frame)))),
  ],
  [
    'keepalives and messages of no bytes before the answer',
    (tunnel, down) => {
      tunnel.send('')
      tunnel.frame({})
      tunnel.send(down)
    },
  ],
]

/** Messages with the payload that each means. */
export const LEGAL_CHUNKS: readonly (readonly [title: string, message: Buffer, expected: string])[] = [
  ['no bytes', Buffer.alloc(0), ''],
  ['a keepalive', chunk(''), ''],
  ['a length of ten bytes', Buffer.concat([tag(1, 2), varint(3, 10), Buffer.from('abc')]), 'abc'],
  ['a tag of five bytes', Buffer.concat([varint(0x0a, 5), varint(3), Buffer.from('abc')]), 'abc'],
  ['data twice, the last wins', Buffer.concat([chunk('first'), chunk('last')]), 'last'],
  ['data, then empty data', Buffer.concat([chunk('first'), chunk('')]), ''],
  ['an unknown varint before', Buffer.concat([tag(2, 0), varint(2n ** 64n - 1n), chunk('abc')]), 'abc'],
  ['an unknown varint behind', Buffer.concat([chunk('abc'), tag(2, 0), varint(7)]), 'abc'],
  [
    'unknown fixed fields',
    Buffer.concat([tag(3, 1), Buffer.alloc(8), chunk('abc'), tag(4, 5), Buffer.alloc(4)]),
    'abc',
  ],
  ['unknown bytes', Buffer.concat([tag(536870911, 2), varint(2), Buffer.from('no'), chunk('abc')]), 'abc'],
  ['an unknown group, data in it', Buffer.concat([tag(5, 3), chunk('no'), tag(5, 4), chunk('abc')]), 'abc'],
  ['data as varint is not data', Buffer.concat([tag(1, 0), varint(1), chunk('abc')]), 'abc'],
  ['only unknown fields', Buffer.concat([tag(2, 2), varint(1), Buffer.from('x')]), ''],
]

function tag(field: number, wireType: number): Buffer {
  return varint(BigInt(field) * 8n + BigInt(wireType))
}

/** A message as so many fragments of at most `size` bytes. */
export function fragments(message: Buffer, size: number): FrameShape[] {
  const parts = pieces(message, size)
  return parts.map((payload, i) => ({
    payload,
    opcode: i === 0 ? BINARY : CONTINUATION,
    fin: i === parts.length - 1,
  }))
}
