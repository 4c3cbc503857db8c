/** Payload of a Close (RFC 6455 §5.5.1, §7.4). */
import { isUtf8 } from 'node:buffer'
import { framingFailure } from './framing-failures.js'

/** The code, 1005 where there is none. Throws ERR_GATEWAY_PROTOCOL. */
export function readClosePayload(payload: Buffer): number {
  if (payload.length === 0) return NO_CODE
  if (payload.length === 1) throw framingFailure('closeFrame')
  const code = payload.readUInt16BE(0)
  if (!maybeSent(code) || !isUtf8(payload.subarray(2))) throw framingFailure('closeFrame')
  return code
}

// 1004 means nothing yet; 1005, 1006 and 1015 stand for what cannot be sent.
function maybeSent(code: number): boolean {
  if (code >= 3000) return code <= 4999
  return code >= 1000 && code <= 1014 && !(code >= 1004 && code <= 1006)
}

const NO_CODE = 1005
