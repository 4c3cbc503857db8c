/**
 * Why the gateway did not do what was asked: one closed table. A code goes into the answer's Proxy-Status header
 * (RFC 9209) and body, and into the audit record. Codes are API: documented in docs/gateway.md (a test compares),
 * never reused.
 */

export interface Reason {
  /** what happened, in words that need no source code to understand */
  readonly meaning: string
  /** HTTP status of the answer; absent where there is no one left to answer, or no way to */
  readonly status?: number
  /** error type of RFC 9209 §2.3 */
  readonly proxyError?: string
  /** what the person who reads the answer can do */
  readonly hint?: string
}

export const REASONS = {
  // On the gateway's own listener.
  'not-found': denied(404, 'the gateway serves no such path'),
  'method-refused': denied(405, 'the method is not served here'),
  'upgrade-required': denied(426, 'this path takes a WebSocket upgrade only'),
  'content-type': denied(
    415,
    'the upgrade carries no Content-Type: application/proto',
    'an intermediary may have removed it, or this is not a relay',
  ),
  unauthorized: denied(401, 'the bearer token is missing or unknown', 'is the session in the configuration?'),
  'too-many-tunnels': entry(503, 'connection_limit_reached', 'the gateway is at its limit of tunnels'),
  draining: entry(503, 'proxy_internal_error', 'the gateway is shutting down', 'try again'),

  // The CONNECT.
  'connect-malformed': entry(400, 'http_request_error', 'the CONNECT head breaks the grammar'),
  'connect-target': entry(400, 'http_request_error', 'the CONNECT target is not host:port'),
  'connect-too-large': entry(431, 'http_request_error', 'the CONNECT head is over its limit'),
  'connect-expected': denied(405, 'the first request of a tunnel must be a CONNECT'),
  'connect-timeout': entry(408, 'http_request_error', 'the CONNECT head was not complete in time'),
  'session-credentials': denied(
    407,
    'the Proxy-Authorization is missing, wrong, or of another session than the bearer token',
    'does the session id belong to the token?',
  ),

  // Policy, for a CONNECT and for each request.
  'denied-by-rule': denied(403, 'a rule of the organisation denies it'),
  'denied-by-default': denied(403, 'no rule of the organisation allows it'),
  'path-ambiguous': denied(
    400,
    'the path can be read in more than one way, and the policy differs between them',
    'write the path as the rule has it: no encoded or doubled slashes, no dot segments, same case',
  ),
  'address-refused': entry(
    403,
    'destination_ip_prohibited',
    'the host has no address outside the loopback, private and reserved networks',
    'upstream.allowAddresses lists the exceptions',
  ),
  'gateway-itself': entry(403, 'destination_ip_prohibited', 'the destination is the gateway itself'),
  'audit-unavailable': entry(
    503,
    'proxy_internal_error',
    'the audit cannot be written, and what cannot be recorded is refused',
    "the gateway's log has the cause",
  ),

  // A request inside the tunnel.
  'request-malformed': entry(400, 'http_request_error', 'the request breaks the grammar'),
  'request-too-large': entry(431, 'http_request_error', 'the request head is over its limit'),
  'request-timeout': entry(408, 'http_request_error', 'the request head was not complete in time'),
  'host-missing': entry(400, 'http_request_error', 'the request has not exactly one Host header'),
  'host-mismatch': denied(421, 'the Host is not the host and port of the CONNECT'),
  'sni-mismatch': denied(421, 'the TLS server name is not the host of the CONNECT'),
  'target-malformed': entry(400, 'http_request_error', 'the request target is not a path'),
  'method-unsupported': denied(405, 'TRACE and CONNECT are not forwarded'),
  'upgrade-unsupported': denied(501, 'protocol upgrades, WebSocket among them, are not forwarded yet'),
  'expectation-unsupported': denied(417, 'the only expectation that is forwarded is 100-continue'),
  'transfer-coding-unsupported': denied(501, 'the only transfer coding that is forwarded is chunked'),
  'too-many-requests': denied(503, 'too many requests of this tunnel are under way'),

  // The way to the origin and back.
  'name-not-found': entry(502, 'dns_error', 'the host has no address'),
  'upstream-unreachable': entry(502, 'destination_unavailable', 'no connection to the origin'),
  'upstream-timeout': entry(504, 'connection_timeout', 'the origin did not answer in time'),
  'upstream-certificate': entry(
    502,
    'tls_certificate_error',
    "the origin's certificate was not accepted",
    'a private CA goes into upstream.caFile',
  ),
  'upstream-tls': entry(502, 'tls_protocol_error', 'the TLS handshake with the origin failed'),
  'upstream-malformed': entry(502, 'http_protocol_error', 'the origin broke HTTP'),
  'upstream-closed': entry(502, 'http_response_incomplete', 'the origin closed before it answered'),
  internal: entry(500, 'proxy_internal_error', 'a bug in upstreamproxy-gateway'),

  // No answer: there was no one to answer, or a response was already under way.
  'upstream-aborted': {
    meaning: "the origin broke off in the middle of its response: the client's is broken too",
  },
  'client-aborted': { meaning: 'the client went away before the response was complete' },
  'tls-handshake-failed': {
    meaning: 'the TLS handshake inside the tunnel failed: does the client trust the CA?',
  },
  'tls-handshake-timeout': { meaning: 'the TLS handshake inside the tunnel was not complete in time' },
  'tunnel-protocol': { meaning: 'the relay sent something that is no chunk' },
  'tunnel-lost': { meaning: 'the connection to the relay was lost' },
  'drain-deadline': { meaning: 'the gateway shut down before the request was complete' },
} as const satisfies Record<string, Reason>

export type ReasonCode = keyof typeof REASONS

/** The entry of a code, with its optional fields. */
export function reasonOf(code: ReasonCode): Reason {
  return REASONS[code]
}

function entry(status: number, proxyError: string, meaning: string, hint?: string): Reason {
  return { meaning, status, proxyError, ...(hint !== undefined && { hint }) }
}

function denied(status: number, meaning: string, hint?: string): Reason {
  return entry(status, 'http_request_denied', meaning, hint)
}
