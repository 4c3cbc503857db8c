/** What can break the frames of a server, in a closed table; what can break a chunk is said in chunk.ts. */
import { ProxyError } from '../errors.js'

/** An error of this name, to be thrown. */
export function framingFailure(name: keyof typeof FAILURES): ProxyError {
  const [code, message] = FAILURES[name]
  return new ProxyError(code, message)
}

const FAILURES = {
  reservedBits: ['ERR_GATEWAY_PROTOCOL', 'a frame with a reserved bit, although no extension was agreed'],
  opcode: ['ERR_GATEWAY_PROTOCOL', 'a frame with an opcode that does not exist'],
  masked: ['ERR_GATEWAY_PROTOCOL', 'a masked frame from a server'],
  text: ['ERR_GATEWAY_PROTOCOL', 'a text message'],
  continuationOfNothing: ['ERR_GATEWAY_PROTOCOL', 'a continuation of no message'],
  messageInsideMessage: ['ERR_GATEWAY_PROTOCOL', 'a message inside another'],
  controlFrame: ['ERR_GATEWAY_PROTOCOL', 'a control frame that is fragmented or over 125 bytes'],
  closeFrame: ['ERR_GATEWAY_PROTOCOL', 'a Close with an invalid code or reason'],
  frameLength: ['ERR_GATEWAY_PROTOCOL', 'a frame length over 53 bits'],
  messageTooLarge: ['ERR_CHUNK_TOO_LARGE', 'a message over the limit'],
} as const
