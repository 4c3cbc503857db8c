/** Names what went wrong between the dial and the upgrade, by where it happened. */
import { codeOrText, ProxyError } from '../errors.js'

/** How far a connection has come; `secured` is past the handshake, or past the connect where there is no TLS. */
export type DialProgress = 'connecting' | 'handshaking' | 'secured'

/**
 * ERR_GATEWAY_UNREACHABLE before there is a connection, ERR_GATEWAY_TLS in its handshake, ERR_GATEWAY_UNAUTHORIZED or
 * ERR_GATEWAY_UPGRADE after it. `failure` is the HTTP status that came instead of 101, or the error.
 */
export function upgradeFailure(failure: number | Error, progress: DialProgress): ProxyError {
  if (typeof failure === 'number') return refusedUpgrade(failure)
  const cause = failure
  const code = codeOrText(cause)
  if (progress === 'secured') {
    return new ProxyError('ERR_GATEWAY_UPGRADE', `no WebSocket upgrade: ${code}`, { cause })
  }
  // A reset inside the handshake says nothing about certificates.
  if (progress === 'handshaking' && code !== 'ECONNRESET') {
    return new ProxyError('ERR_GATEWAY_TLS', `TLS to the gateway failed: ${code}`, {
      cause,
      hint: TLS_HINTS.get(code) ?? 'is the base URL right, and does it speak TLS?',
    })
  }
  return new ProxyError('ERR_GATEWAY_UNREACHABLE', `no connection to the gateway: ${code}`, {
    cause,
    hint: 'is the base URL right, and may this machine reach it?',
  })
}

function refusedUpgrade(status: number): ProxyError {
  if (status === 401 || status === 403 || status === 407) {
    return new ProxyError('ERR_GATEWAY_UNAUTHORIZED', `the gateway answered the upgrade with ${status}`, {
      hint: 'the session token is unknown to it or has ended',
    })
  }
  return new ProxyError('ERR_GATEWAY_UPGRADE', `the gateway answered the upgrade with ${status}`)
}

const TLS_HINTS = new Map([
  ['SELF_SIGNED_CERT_IN_CHAIN', 'name its private CA with --gateway-ca'],
  ['DEPTH_ZERO_SELF_SIGNED_CERT', 'name its certificate with --gateway-ca'],
  ['UNABLE_TO_VERIFY_LEAF_SIGNATURE', 'name its private CA with --gateway-ca'],
  ['UNABLE_TO_GET_ISSUER_CERT_LOCALLY', 'name its private CA with --gateway-ca'],
  ['CERT_HAS_EXPIRED', "the gateway's certificate has expired, or the clock here is wrong"],
  ['ERR_TLS_CERT_ALTNAME_INVALID', "the base URL's host is not in the gateway's certificate"],
])
