/** Refusals as HTTP answers: a status, Proxy-Status (RFC 9209), and a text body that a person understands. */
import { STATUS_CODES } from 'node:http'
import { type ReasonCode, reasonOf } from './reasons.js'

export interface RefusalDetails {
  /** more on this one case; from the gateway's own words or a library's code, never from a request */
  readonly detail?: string | undefined
  /** the id of the audit record that tells the same */
  readonly recordId?: string | undefined
}

export interface Answer {
  readonly status: number
  readonly statusText: string
  /** names and values in turn, as `writeHead` takes them; no Connection header */
  readonly headers: readonly string[]
  readonly body: Buffer
}

/** The answer for a reason; 500 for one that has no status of its own. */
export function refusal(code: ReasonCode, { detail, recordId }: RefusalDetails = {}): Answer {
  const { meaning, status = 500, proxyError = 'proxy_internal_error', hint } = reasonOf(code)
  const lines = [
    `upstreamproxy-gateway: ${code}: ${meaning}${detail === undefined ? '' : ` (${detail})`}`,
    ...(hint === undefined ? [] : [`hint: ${hint}`]),
    ...(recordId === undefined ? [] : [`record: ${recordId}`]),
  ]
  const body = Buffer.from(`${lines.join('\n')}\n`)
  return {
    status,
    statusText: STATUS_CODES[status] ?? 'Refused',
    headers: [
      ['Content-Type', 'text/plain; charset=utf-8'],
      ['Content-Length', String(body.length)],
      ['Cache-Control', 'no-store'],
      ['Proxy-Status', `upstreamproxy-gateway; error=${proxyError}; details="${code}"`],
      ...(EXTRA_HEADERS.get(code) ?? []),
    ].flat(),
    body,
  }
}

/** The same answer as bytes, for where no HTTP server stands; the connection ends after it. */
export function refusalBytes(code: ReasonCode, details?: RefusalDetails): Buffer {
  const { status, statusText, headers, body } = refusal(code, details)
  const lines = [`HTTP/1.1 ${status} ${statusText}`]
  for (let i = 0; i < headers.length; i += 2) lines.push(`${headers[i]}: ${headers[i + 1]}`)
  lines.push('Connection: close', '', '')
  return Buffer.concat([Buffer.from(lines.join('\r\n')), body])
}

/** What opens a tunnel. */
export const CONNECTION_ESTABLISHED = Buffer.from('HTTP/1.1 200 Connection Established\r\n\r\n')

// What RFC 9110 asks for beside certain statuses.
const EXTRA_HEADERS = new Map<ReasonCode, string[][]>([
  ['unauthorized', [['WWW-Authenticate', 'Bearer realm="upstreamproxy"']]],
  ['session-credentials', [['Proxy-Authenticate', 'Basic realm="upstreamproxy"']]],
  ['method-refused', [['Allow', 'GET, HEAD']]],
  ['connect-expected', [['Allow', 'CONNECT']]],
  ['method-unsupported', [['Allow', 'GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS']]],
  ['upgrade-required', [['Upgrade', 'websocket']]],
])
