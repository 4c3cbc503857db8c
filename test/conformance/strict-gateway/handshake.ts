/**
 * The upgrade request (RFC 6455 §4.1, RFC 9112, and the headers of wire protocol v1), judged by a strict server.
 *
 * Rule 1: each header that must be there is there once, with exactly its value; headers that nobody asked for are
 *         complained of, because a proxy in between may act on them.
 */
import { createHash } from 'node:crypto'

export interface UpgradeExpectation {
  /** value of the Host header */
  readonly host: string
  readonly token: string
}

export interface UpgradeRequest {
  /** by lower-case name */
  readonly headers: ReadonlyMap<string, string>
  /** what is wrong with it, one sentence each */
  readonly faults: readonly string[]
  /** Sec-WebSocket-Accept for the answer */
  readonly accept: string
}

/** Judges a request head, its empty line included. */
export function readUpgrade(head: string, expected: UpgradeExpectation): UpgradeRequest {
  const faults: string[] = []
  const [requestLine, ...lines] = head.slice(0, -4).split('\r\n')
  if (requestLine !== `GET ${WEB_SOCKET_PATH} HTTP/1.1`) faults.push(`the request line is ${requestLine}`)
  const headers = readHeaders(lines, faults)
  const must = (name: string, isRight: (value: string) => boolean) => {
    const value = headers.get(name)
    if (value === undefined) faults.push(`no ${name} header`)
    // The value of Authorization is a secret, on its way into a report.
    else if (!isRight(value)) faults.push(`${name} is ${name === 'authorization' ? 'wrong' : value}`)
  }
  must('host', (value) => value === expected.host)
  must('upgrade', (value) => value.toLowerCase() === 'websocket')
  must('connection', (value) => value.toLowerCase() === 'upgrade')
  must('sec-websocket-version', (value) => value === '13')
  must('sec-websocket-key', isKey)
  must('authorization', (value) => value === `Bearer ${expected.token}`)
  must('content-type', (value) => value === 'application/proto')
  for (const name of headers.keys()) {
    if (!EXPECTED.has(name)) faults.push(`an uncalled-for ${name} header: ${headers.get(name)}`)
  }
  const key = headers.get('sec-websocket-key') ?? ''
  return {
    headers,
    faults,
    accept: createHash('sha1')
      .update(key + GUID)
      .digest('base64'),
  }
}

function readHeaders(lines: readonly string[], faults: string[]): Map<string, string> {
  const headers = new Map<string, string>()
  for (const line of lines) {
    const [, name, value] = /^([!#$%&'*+.^_`|~0-9A-Za-z-]+): ?([!-~](?:[ -~]*[!-~])?)$/.exec(line) ?? []
    if (name === undefined || value === undefined) {
      faults.push('a line that is no header')
      continue
    }
    if (headers.has(name.toLowerCase())) faults.push(`two ${name} headers`)
    headers.set(name.toLowerCase(), value)
  }
  return headers
}

// 16 bytes in canonical base64 (§4.1).
function isKey(value: string): boolean {
  const bytes = Buffer.from(value, 'base64')
  return bytes.length === 16 && bytes.toString('base64') === value
}

const WEB_SOCKET_PATH = '/v1/code/upstreamproxy/ws'
const GUID = '258EAFA5-E914-47DA-95CA-C5AB0DC85B11'
const EXPECTED = new Set([
  'host',
  'upgrade',
  'connection',
  'sec-websocket-version',
  'sec-websocket-key',
  'authorization',
  'content-type',
  // Harmless ones that a runtime's own WebSocket adds.
  'user-agent',
  'accept',
  'cache-control',
  'pragma',
])
