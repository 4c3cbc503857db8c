/** The relay's own HTTP answers: short, complete, the connection closed after them. */
import { ERROR_CODES, type ProxyError } from '../errors.js'

/**
 * An error as an HTTP answer: its code in `Proxy-Status` (RFC 9209) and in the body, with its hint. Holds nothing
 * of the request and nothing secret.
 */
export function errorAnswer(error: ProxyError): Buffer {
  const entry: { status?: number; proxyError?: string } = ERROR_CODES[error.code]
  const status = entry.status ?? 502
  const proxyError = entry.proxyError ?? 'proxy_internal_error'
  const hint = error.hint === undefined ? '' : ` (${error.hint})`
  const headers = [`Proxy-Status: upstreamproxy; error=${proxyError}; details="${error.code}"`]
  if (status === 405) headers.push('Allow: CONNECT')
  return answer(status, 'text/plain; charset=utf-8', `${error.code}: ${error.message}${hint}\n`, headers)
}

/** A document for a request to the relay itself. */
export function jsonAnswer(document: unknown): Buffer {
  return answer(200, 'application/json', `${JSON.stringify(document)}\n`, ['Cache-Control: no-store'])
}

function answer(status: number, contentType: string, body: string, headers: readonly string[]): Buffer {
  const head = [
    `HTTP/1.1 ${status} ${REASON_PHRASES[status] ?? 'Error'}`,
    `Content-Type: ${contentType}`,
    `Content-Length: ${Buffer.byteLength(body)}`,
    ...headers,
    'Connection: close',
  ]
  return Buffer.from(`${head.join('\r\n')}\r\n\r\n${body}`)
}

const REASON_PHRASES: Readonly<Record<number, string>> = {
  200: 'OK',
  400: 'Bad Request',
  403: 'Forbidden',
  405: 'Method Not Allowed',
  408: 'Request Timeout',
  431: 'Request Header Fields Too Large',
  502: 'Bad Gateway',
  503: 'Service Unavailable',
  504: 'Gateway Timeout',
}
