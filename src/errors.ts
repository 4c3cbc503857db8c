/**
 * One error class and one closed table of codes. Callers match `code`, never text; codes are API: documented in
 * docs/errors.md, never reused, each provoked by a test.
 */

interface CodeEntry {
  /** what went wrong, in words that need no source code to understand */
  readonly meaning: string
  /** HTTP status of the relay's own answer, where this error can be answered to a client */
  readonly status?: number
  /** error type of RFC 9209 §2.3, for the Proxy-Status header of that answer */
  readonly proxyError?: string
}

export const ERROR_CODES = {
  // What a client sent to the relay's port.
  ERR_CONNECT_NOT_HTTP: entry('the first byte cannot start an HTTP request', 400, 'http_request_error'),
  ERR_CONNECT_HEAD_MALFORMED: entry('the request head breaks the grammar', 400, 'http_request_error'),
  ERR_CONNECT_TARGET: entry('the CONNECT target is not host:port', 400, 'http_request_error'),
  ERR_CONNECT_BODY: entry('a CONNECT must not announce a body', 400, 'http_request_error'),
  ERR_CONNECT_METHOD: entry('only CONNECT is served', 405, 'http_request_denied'),
  ERR_CONNECT_HEAD_TIMEOUT: entry('the request head was not complete in time', 408, 'http_request_error'),
  ERR_CONNECT_HEAD_TOO_LARGE: entry('the request head is over its limit', 431, 'http_request_error'),
  ERR_STATUS_HOST: entry('the status document is for loopback Host headers only', 403, 'http_request_denied'),
  ERR_CLIENT_RESET: entry('the client broke its connection'),

  // Limits and life of the relay.
  ERR_TOO_MANY_TUNNELS: entry('the relay is at its limit of tunnels', 503, 'connection_limit_reached'),
  ERR_RELAY_CLOSING: entry('the relay is shutting down', 503, 'proxy_internal_error'),
  ERR_LISTEN: entry('the relay could not listen'),
  ERR_ENGINE: entry('the engine that is asked for cannot be had here'),
  ERR_RELAY_THREAD: entry("the relay's thread could not be started, or has ended"),

  // The way to the gateway and back.
  ERR_GATEWAY_UNREACHABLE: entry('no connection to the gateway', 502, 'destination_unavailable'),
  ERR_GATEWAY_TLS: entry('the TLS connection to the gateway failed', 502, 'tls_certificate_error'),
  ERR_GATEWAY_UNAUTHORIZED: entry('the gateway refused the token', 502, 'http_request_denied'),
  ERR_GATEWAY_UPGRADE: entry('the gateway refused the WebSocket upgrade', 502, 'http_upgrade_failed'),
  ERR_GATEWAY_CLOSED_EARLY: entry('the gateway went away before it answered', 502, 'connection_terminated'),
  ERR_GATEWAY_TIMEOUT: entry('the gateway did not answer in time', 504, 'connection_timeout'),
  ERR_GATEWAY_REFUSED: entry('the gateway answered the CONNECT with something other than 2xx'),
  ERR_GATEWAY_PROTOCOL: entry('the gateway broke the protocol', 502, 'http_protocol_error'),
  ERR_GATEWAY_CLOSED: entry(
    'the gateway closed the WebSocket with an error code',
    502,
    'connection_terminated',
  ),
  ERR_GATEWAY_LOST: entry('the connection to the gateway was lost', 502, 'connection_terminated'),
  ERR_GATEWAY_DEAD: entry('the gateway stopped answering pings', 502, 'connection_timeout'),

  // Chunks (both sides).
  ERR_CHUNK_MALFORMED: entry('a message is not a valid chunk', 502, 'http_protocol_error'),
  ERR_CHUNK_TOO_LARGE: entry('a chunk is over its limit', 502, 'http_protocol_error'),

  // Start-up, in the order of the six steps.
  ERR_OPTION: entry('an option has a value that cannot be used'),
  ERR_OPTION_UNKNOWN: entry('there is no such option'),
  ERR_SESSION_ID: entry('the session id is missing or unusable'),
  ERR_HARDENING_INSPECTOR: entry('the inspector of the process is open'),
  ERR_HARDENING_TRACED: entry('another process traces this one'),
  ERR_HARDENING_INCOMPLETE: entry('a measure of hardening cannot be had here'),
  ERR_TOKEN_MISSING: entry('there is no token file'),
  ERR_TOKEN_UNREADABLE: entry('the token file cannot be read'),
  ERR_TOKEN_NOT_A_FILE: entry('the token path is not a regular file'),
  ERR_TOKEN_EMPTY: entry('the token file is empty'),
  ERR_TOKEN_TOO_LARGE: entry('the token is over 4 KiB'),
  ERR_TOKEN_MALFORMED: entry('the token is not one line of visible ASCII'),
  ERR_TOKEN_UNLINK: entry('the token file could not be removed'),
  ERR_GATEWAY_CA: entry('the file of --gateway-ca cannot be used'),
  ERR_SYSTEM_CA: entry('the file of --system-ca cannot be used'),
  ERR_CA_FETCH: entry('the CA certificate could not be fetched from the gateway'),
  ERR_CA_TOO_LARGE: entry('what the CA endpoint sent is over 1 MiB'),
  ERR_CA_INVALID: entry('what the CA endpoint sent is not a usable CA certificate'),
  ERR_CA_WRITE: entry('the CA bundle could not be written anywhere'),

  // The command line.
  ERR_USAGE: entry('the command line names no command, or one that does not exist'),
  ERR_ENV_FILE: entry('the file of --write-env cannot be written'),

  ERR_INTERNAL: entry('a bug in upstreamproxy', 502, 'proxy_internal_error'),
} as const satisfies Record<string, CodeEntry>

export type ErrorCode = keyof typeof ERROR_CODES

export interface ProxyErrorOptions {
  /** what a person can do about it */
  readonly hint?: string
  readonly cause?: unknown
}

/** The one error that this package throws. `message` says what was expected and what came, and holds no secret. */
export class ProxyError extends Error {
  override readonly name = 'ProxyError'
  readonly code: ErrorCode
  readonly hint: string | undefined

  constructor(code: ErrorCode, message: string, { hint, cause }: ProxyErrorOptions = {}) {
    super(message, cause === undefined ? undefined : { cause })
    this.code = code
    this.hint = hint
  }

  /** HTTP status for the relay's own answer, undefined where the error is never answered. */
  get status(): number | undefined {
    return (ERROR_CODES[this.code] as CodeEntry).status
  }
}

/** The same error, where it is one of ours; anything else becomes ERR_INTERNAL (or the given code) with its cause. */
export function asProxyError(error: unknown, code: ErrorCode = 'ERR_INTERNAL'): ProxyError {
  if (error instanceof ProxyError) return error
  return new ProxyError(code, error instanceof Error ? error.message : String(error), { cause: error })
}

/** The code of any error, such as ENOENT; undefined where it has none. */
export function codeOf(error: unknown): string | undefined {
  return error instanceof Error && 'code' in error ? String(error.code) : undefined
}

/** The code of any error, else its text: what a message of ours says of it. */
export function codeOrText(error: unknown): string {
  return codeOf(error) ?? (error instanceof Error ? error.message || error.name : String(error))
}

function entry(meaning: string, status?: number, proxyError?: string): CodeEntry {
  return { meaning, ...(status !== undefined && { status }), ...(proxyError !== undefined && { proxyError }) }
}
