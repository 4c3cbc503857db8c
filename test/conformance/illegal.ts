/** What a gateway must never send: each breaks RFC 6455 or the chunk format, with the code that the relay gives it. */
import { chunk, varint } from './strict-gateway/chunk.js'
import {
  BINARY,
  CLOSE,
  CONTINUATION,
  encodeFrame,
  type FrameShape,
  PING,
  TEXT,
} from './strict-gateway/frames.js'

export interface Violation {
  readonly title: string
  readonly bytes: Buffer
  readonly code: string
}

const HELLO = chunk('hello')

export const BROKEN_FRAMES: readonly Violation[] = [
  frame('a masked frame', { payload: HELLO, maskingKey: Buffer.from([1, 2, 3, 4]) }),
  frame('RSV1, with no extension agreed', { payload: HELLO, rsv: 0x40 }),
  frame('RSV2', { payload: HELLO, rsv: 0x20 }),
  frame('RSV3', { payload: HELLO, rsv: 0x10 }),
  frame('opcode 3', { payload: HELLO, opcode: 0x3 }),
  frame('opcode 15', { opcode: 0xf }),
  frame('a text message', { payload: Buffer.from('hello'), opcode: TEXT }),
  frame('a text message of no bytes', { opcode: TEXT }),
  frame('a continuation of nothing', { payload: HELLO, opcode: CONTINUATION }),
  frames('a message inside another', { payload: HELLO, fin: false }, { payload: HELLO }),
  frame('a fragmented ping', { opcode: PING, fin: false }),
  frame('a ping of 126 bytes', { opcode: PING, payload: Buffer.alloc(126) }),
  frame('a Close with half a code', { opcode: CLOSE, payload: Buffer.from([3]) }),
  frame('a Close that is not UTF-8', { opcode: CLOSE, payload: Buffer.from([0x03, 0xe8, 0xc3, 0x28]) }),
  ...[0, 999, 1004, 1005, 1006, 1015, 2999, 5000].map((code) =>
    frame(`a Close with code ${code}`, { opcode: CLOSE, payload: Buffer.from([code >> 8, code & 0xff]) }),
  ),
]

export const OVERSIZED: readonly Violation[] = [
  frame('a frame that claims 17 MiB', { claimedBytes: 17n * 1024n * 1024n }, 'ERR_CHUNK_TOO_LARGE'),
  frame('a frame that claims 4 GiB', { claimedBytes: 2n ** 32n }, 'ERR_CHUNK_TOO_LARGE'),
  // The highest bit of a length must be 0 (RFC 6455 §5.2).
  frame('a frame that claims 2^63 bytes', { claimedBytes: 2n ** 63n }),
  frame('a frame that claims 2^64 - 1 bytes', { claimedBytes: 2n ** 64n - 1n }),
  frames(
    'fragments that claim 17 MiB together',
    { payload: chunk('x'), fin: false },
    { opcode: CONTINUATION, claimedBytes: 17n * 1024n * 1024n - 3n },
  ),
  message('a chunk that claims 17 MiB', [0x0a, ...varint(17 * 1024 * 1024)], 'ERR_CHUNK_TOO_LARGE'),
  message('a chunk that claims 2^32 bytes', [0x0a, ...varint(2n ** 32n)], 'ERR_CHUNK_TOO_LARGE'),
  message('a chunk that claims 2^63 bytes', [0x0a, ...varint(2n ** 63n)], 'ERR_CHUNK_TOO_LARGE'),
  message('an unknown field that claims 2^40 bytes', [0x12, ...varint(2n ** 40n)], 'ERR_CHUNK_TOO_LARGE'),
]

export const BROKEN_CHUNKS: readonly Violation[] = [
  message('a length with nothing behind it', [0x0a, 0x05]),
  message('one byte too few', [0x0a, 0x02, 0x61]),
  message('a tag alone', [0x0a]),
  message('half a length', [0x0a, 0x80]),
  message('a length of eleven bytes', [0x0a, ...Array(10).fill(0x80), 0x00]),
  message('a tag of six bytes', [...Array(5).fill(0x8a), 0x00, 0x00]),
  message('field number 0', [0x02, 0x00]),
  message('wire type 6', [0x0e, 0x00]),
  message('wire type 7', [0x0f, 0x00]),
  message('the end of a group that is not open', [0x2c]),
  message('a group that does not end', [0x2b, 0x0a, 0x01, 0x61]),
  message('half a fixed field', [0x19, 1, 2, 3]),
  message('a good chunk, then half a field', [...HELLO, 0x12, 0x05, 0x61]),
  message('no protobuf at all', [...Buffer.from('HTTP/1.1 200 OK\r\n\r\n')]),
]

function frame(title: string, shape: FrameShape, code = 'ERR_GATEWAY_PROTOCOL'): Violation {
  return { title, bytes: encodeFrame(shape), code }
}

function frames(title: string, first: FrameShape, second: FrameShape): Violation {
  const code = second.claimedBytes === undefined ? 'ERR_GATEWAY_PROTOCOL' : 'ERR_CHUNK_TOO_LARGE'
  return { title, bytes: Buffer.concat([encodeFrame(first), encodeFrame(second)]), code }
}

function message(title: string, bytes: readonly number[], code = 'ERR_CHUNK_MALFORMED'): Violation {
  return { title, bytes: encodeFrame({ opcode: BINARY, payload: Buffer.from(bytes) }), code }
}
