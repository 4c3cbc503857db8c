/**
 * Incremental parser for the one request head of a connection (RFC 9112).
 *
 * Rule 1: this file reads bytes and writes none.
 * Rule 2: what the grammar does not allow is refused, at the first byte that breaks it: control bytes, a bare CR or
 *         LF, a first byte that cannot start a request. Nothing is repaired.
 * Rule 3: at most `maxHeadBytes` are ever held; the bytes after the head are handed back untouched.
 * Rule 4: how the bytes were cut on the way changes nothing.
 */
import { ProxyError } from '../errors.js'
import { type Authority, parseAuthority } from './authority.js'

export interface Header {
  /** lower case */
  readonly name: string
  /** without surrounding white space; bytes over 0x7f as Latin-1 */
  readonly value: string
}

interface HeadFields {
  readonly httpVersion: '1.0' | '1.1'
  /** in the order they came, at most 100 */
  readonly headers: readonly Header[]
  /** the head itself, its empty line included */
  readonly raw: Buffer
  /** what came after the head in the same pushes: the start of the tunnelled bytes */
  readonly rest: Buffer
}

export interface ConnectRequest extends HeadFields, Authority {
  readonly kind: 'connect'
}

/** A request for this server itself, in origin form: the target begins with `/`. */
export interface OriginRequest extends HeadFields {
  readonly kind: 'origin'
  readonly method: string
  readonly target: string
}

export type RequestHead = ConnectRequest | OriginRequest

export const DEFAULT_MAX_HEAD_BYTES = 8 * 1024
export const MAX_HEADER_LINES = 100

/** Takes bytes until a head is complete. One parser serves one connection, once. */
export class RequestHeadParser {
  readonly #maxHeadBytes: number
  #held: Buffer = EMPTY
  #scanned = 0
  // How much of CR LF CR LF the last bytes match; a header line's end is a match of 2.
  #terminator = 0

  constructor({ maxHeadBytes = DEFAULT_MAX_HEAD_BYTES }: { readonly maxHeadBytes?: number } = {}) {
    this.#maxHeadBytes = maxHeadBytes
  }

  /** true once a byte has come */
  get started(): boolean {
    return this.#scanned > 0
  }

  /**
   * The head once it is complete, undefined while more is needed. Throws ERR_CONNECT_NOT_HTTP,
   * ERR_CONNECT_HEAD_MALFORMED, ERR_CONNECT_HEAD_TOO_LARGE, ERR_CONNECT_TARGET, ERR_CONNECT_BODY or
   * ERR_CONNECT_METHOD; after that, or after a head, it must not be called again.
   */
  push(bytes: Uint8Array): RequestHead | undefined {
    const pushed = asBuffer(bytes)
    const all = this.#held.length === 0 ? pushed : Buffer.concat([this.#held, pushed])
    const end = this.#scan(all)
    if (end < 0) {
      // A copy: the caller may read into the same memory again.
      this.#held = all === pushed ? Buffer.from(pushed) : all
      return undefined
    }
    this.#held = EMPTY
    return parseHead(all.subarray(0, end), all.subarray(end))
  }

  // Index just after the head, or -1 while it is incomplete.
  #scan(all: Buffer): number {
    const limit = Math.min(all.length, this.#maxHeadBytes)
    for (let i = this.#scanned; i < limit; i++) {
      const byte = all[i]!
      if (i === 0 && !isTokenByte(byte)) throw notHttp(byte)
      if (byte === LF) {
        if (this.#terminator % 2 === 0) throw malformed('a line feed without its carriage return')
        if (++this.#terminator === 4) return i + 1
      } else if (this.#terminator % 2 === 1) {
        throw malformed('a carriage return without its line feed')
      } else if (byte === CR) {
        this.#terminator++
      } else {
        this.#terminator = 0
        if ((byte < 0x20 && byte !== TAB) || byte === 0x7f) throw malformed('a control byte in the head')
      }
    }
    this.#scanned = limit
    if (all.length >= this.#maxHeadBytes) {
      throw new ProxyError(
        'ERR_CONNECT_HEAD_TOO_LARGE',
        `the request head exceeds ${this.#maxHeadBytes} bytes`,
      )
    }
    return -1
  }
}

function parseHead(raw: Buffer, rest: Buffer): RequestHead {
  const [requestLine, ...headerLines] = raw.toString('latin1', 0, raw.length - 4).split('\r\n')
  const { method, target, httpVersion } = parseRequestLine(requestLine!)
  if (headerLines.length > MAX_HEADER_LINES) {
    throw new ProxyError('ERR_CONNECT_HEAD_TOO_LARGE', `more than ${MAX_HEADER_LINES} header lines`)
  }
  const headers = headerLines.map(parseHeaderLine)
  const fields = { httpVersion, headers, raw, rest } as const
  if (method === 'CONNECT') {
    refuseBody(headers)
    return { kind: 'connect', ...parseAuthority(target), ...fields }
  }
  if (target.startsWith('/')) return { kind: 'origin', method, target, ...fields }
  throw new ProxyError('ERR_CONNECT_METHOD', 'only CONNECT is served: this proxy carries HTTPS only', {
    hint: 'set HTTPS_PROXY, not HTTP_PROXY',
  })
}

// RFC 9110 §9.3.6: a CONNECT has no content, and what follows its head is the tunnel's.
function refuseBody(headers: readonly Header[]): void {
  if (headers.some(({ name }) => name === 'content-length' || name === 'transfer-encoding')) {
    throw new ProxyError('ERR_CONNECT_BODY', 'a CONNECT with Content-Length or Transfer-Encoding')
  }
}

function parseRequestLine(line: string) {
  const match = REQUEST_LINE.exec(line)
  if (!match) throw malformed('expected METHOD SP TARGET SP HTTP/1.1 as the request line')
  const httpVersion: '1.0' | '1.1' = match[3] === '0' ? '1.0' : '1.1'
  return { method: match[1]!, target: match[2]!, httpVersion }
}

function parseHeaderLine(line: string): Header {
  if (line.startsWith(' ') || line.startsWith('\t')) throw malformed('a folded header line')
  const match = HEADER_LINE.exec(line)
  if (!match) throw malformed('expected NAME: VALUE as a header line')
  return { name: match[1]!.toLowerCase(), value: trimBlanks(match[2]!) }
}

// Blanks here are space and tab alone (RFC 9110 §5.6.3); String.trim would take the no-break space too.
function trimBlanks(text: string): string {
  let start = 0
  let end = text.length
  while (start < end && isBlank(text.charCodeAt(start))) start++
  while (end > start && isBlank(text.charCodeAt(end - 1))) end--
  return text.slice(start, end)
}

function isBlank(code: number): boolean {
  return code === 0x20 || code === TAB
}

function notHttp(byte: number): ProxyError {
  const hint = FIRST_BYTE_HINTS.get(byte)
  const shown = `0x${byte.toString(16).padStart(2, '0')}`
  return new ProxyError(
    'ERR_CONNECT_NOT_HTTP',
    `the first byte is ${shown}, which cannot start an HTTP request`,
    hint === undefined ? {} : { hint },
  )
}

function malformed(message: string): ProxyError {
  return new ProxyError('ERR_CONNECT_HEAD_MALFORMED', message)
}

function isTokenByte(byte: number): boolean {
  return TOKEN_BYTE.test(String.fromCharCode(byte))
}

function asBuffer(bytes: Uint8Array): Buffer {
  return Buffer.isBuffer(bytes) ? bytes : Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength)
}

const EMPTY = Buffer.alloc(0)
const TAB = 0x09
const LF = 0x0a
const CR = 0x0d
const TOKEN_BYTE = /^[!#$%&'*+.^_`|~0-9A-Za-z-]$/
const REQUEST_LINE = /^([!#$%&'*+.^_`|~0-9A-Za-z-]+) ([\x21-\x7e]+) HTTP\/1\.([01])$/
const HEADER_LINE = /^([!#$%&'*+.^_`|~0-9A-Za-z-]+):([\t\x20-\x7e\x80-\xff]*)$/
const FIRST_BYTE_HINTS = new Map([
  [0x16, 'this is a TLS record: reach the proxy itself as http://, also for https:// URLs'],
  [0x04, 'this looks like SOCKS 4: the proxy speaks HTTP CONNECT'],
  [0x05, 'this looks like SOCKS 5: the proxy speaks HTTP CONNECT'],
])
