/**
 * Framing of the data path: WebSocket frames (RFC 6455) around chunks (wire protocol v1). One interface, served by the
 * addon and in TypeScript (src/wire).
 *
 * Rule 1: calls are big: one turns a whole read into a frame, or a whole read of frames into payload that is written.
 * Rule 2: both sides of the interface accept and refuse the same bytes, with the same codes; a parity test holds them
 *         together.
 */
import type { SocketWriter } from './socket-writer.js'
import type { StreamSocket } from './stream-socket.js'

export { FRAME_HEADROOM } from '../wire/client-frame.js'
export { FRAME_EVENT } from '../wire/frame-event.js'

export interface Framing {
  /**
   * Makes a chunk in a binary frame of a payload that already lies in `arena`, in place: chunk header and frame header
   * go before it (FRAME_HEADROOM bytes are always enough), then all from the chunk header on is masked with the four
   * bytes of `key` as they lie in memory on this machine. Returns where the frame starts; it ends where the payload
   * does. `payloadBytes` is 0 (a keepalive) to MAX_CHUNK_BYTES. Throws a RangeError where the arena cannot hold it.
   */
  encodeFrameInto(arena: Uint8Array, payloadStart: number, payloadBytes: number, key: number): number
  createDecoder(options: FrameDecoderOptions): FrameDecoder
}

export interface FrameDecoderOptions {
  /** cap on a message, in bytes, and on a field in it; over it: ERR_CHUNK_TOO_LARGE */
  readonly maxMessageBytes: number
}

/**
 * Decodes what a WebSocket server sends, however it is cut. Payload is handed on as early as it is certain (the rules
 * of chunk-stream.ts); that of control frames is bounded by the protocol. After `failed` or `closed` it takes no more.
 */
export interface FrameDecoder {
  /**
   * Decodes all of `bytes`. Payload goes to `writer`; what a SocketWriter throws is thrown here, and the decoder is then
   * of no use any more, nor is the writer: some of the stream is missing. Without a writer payload waits for
   * `takePayload`. Returns the bits of FRAME_EVENT that came up. Whatever precedes a violation or a Close has been handed on; what follows is dropped.
   */
  push(bytes: Uint8Array, writer?: SocketWriter): number
  /** Payload pushed without a writer since the last call, in order: copies. */
  takePayload(): Buffer[]
  /** Payload of the last ping since the last call (RFC 6455 §5.5.3: only the last one needs an answer), a copy. */
  takePing(): Buffer | undefined
  /** chunk payload that was certain so far, in bytes: handed on, or waiting to be taken */
  readonly payloadBytes: number
  /** code of the Close that came, 1005 where it had none; undefined before it */
  readonly closeCode: number | undefined
  /** what broke the protocol; undefined where nothing did */
  readonly failure: FramingFailure | undefined
  /** true where an end of the stream now would cut no message short; says nothing after a failure */
  readonly betweenMessages: boolean
}

/** The addon's decoder, for the engine: one short call a record. */
export interface PassingDecoder extends FrameDecoder {
  /** From now on `pass` reads from this memory, and hands payload to this socket. Once. */
  passTo(inbox: Uint8Array, socket: StreamSocket): void
  /**
   * As `push(inbox.subarray(0, count), socket)`. Returns how many bytes of payload were written where nothing else came
   * up and nothing is queued; else the negated bits of FRAME_EVENT. With `gathers` the socket need not send it yet: more is on
   * its way, or NativeSockets.flush (keep the socket until then). What goes wrong then is told by its `onFailed`.
   */
  pass(count: number, gathers: boolean): number
}

/** Framing as the addon has it. */
export interface NativeFraming extends Framing {
  createDecoder(options: FrameDecoderOptions): PassingDecoder
}

export interface FramingFailure {
  readonly code: 'ERR_GATEWAY_PROTOCOL' | 'ERR_CHUNK_MALFORMED' | 'ERR_CHUNK_TOO_LARGE'
  /** what was expected and what came; holds none of the bytes */
  readonly message: string
}
