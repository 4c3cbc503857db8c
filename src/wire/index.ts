/** Wire protocol v1 for both sides: what the relay and a gateway share. Pure: no I/O. */
export { type Authority, parseAuthority, parseName } from './authority.js'
export {
  CHUNK_HEADROOM,
  DEFAULT_MAX_MESSAGE_BYTES,
  decodeChunk,
  encodeChunk,
  encodeChunkInto,
  KEEPALIVE,
  MAX_CHUNK_BYTES,
} from './chunk.js'
export { ChunkDecoder, type ChunkDecoderOptions } from './chunk-stream.js'
export {
  type ConnectRequest,
  DEFAULT_MAX_HEAD_BYTES,
  type Header,
  MAX_HEADER_LINES,
  type OriginRequest,
  type RequestHead,
  RequestHeadParser,
} from './request-head.js'

/** paths below the base URL */
export const WIRE_PATHS = {
  caCert: '/v1/code/upstreamproxy/ca-cert',
  webSocket: '/v1/code/upstreamproxy/ws',
} as const

/** Content-Type of the upgrade request; without it a gateway ends the stream with no message */
export const CONTENT_TYPE = 'application/proto'
