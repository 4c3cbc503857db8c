/**
 * The WebSocket upgrade as a client sees it (RFC 6455 §4.1): the request, and a strict reading of what comes back.
 *
 * Rule 1: 101 is believed only with the right Upgrade, Connection and Sec-WebSocket-Accept, and with no extension and no
 *         subprotocol, for none was offered.
 * Rule 2: the grammar is held as it is for requests (a bare CR or LF, a fold, a control byte are refused); at most
 *         MAX_HEAD_BYTES are held. A refusal may be of HTTP/1.0, as those of old proxies are.
 *         What can no longer become an answer is refused at once, without waiting for its end.
 * Rule 3: the bytes behind the head are handed back untouched; interim answers (1xx but 101) are passed over.
 */
import { createHash } from 'node:crypto'
import { ProxyError } from '../errors.js'

export interface UpgradeRequest {
  /** as in a Host header */
  readonly host: string
  /** path and query */
  readonly target: string
  /** 16 fresh random bytes in base64 */
  readonly key: string
  readonly headers: Readonly<Record<string, string>>
}

export function upgradeRequest({ host, target, key, headers }: UpgradeRequest): Buffer {
  const lines = [
    `GET ${target} HTTP/1.1`,
    `Host: ${host}`,
    'Connection: Upgrade',
    'Upgrade: websocket',
    'Sec-WebSocket-Version: 13',
    `Sec-WebSocket-Key: ${key}`,
    ...Object.entries(headers).map(([name, value]) => `${name}: ${value}`),
  ]
  return Buffer.from(`${lines.join('\r\n')}\r\n\r\n`, 'latin1')
}

export type UpgradeAnswer =
  /** the upgrade is done; `rest` are the first bytes of frames */
  | { readonly rest: Buffer }
  /** the status of a refusal */
  | { readonly refused: number }

/** Reads the answer to one upgrade, however it is cut. */
export class UpgradeAnswerParser {
  readonly #accept: string
  #held: Buffer = EMPTY
  #headBytes = 0

  /** @param key that of the request */
  constructor(key: string) {
    this.#accept = createHash('sha1').update(`${key}258EAFA5-E914-47DA-95CA-C5AB0DC85B11`).digest('base64')
  }

  /**
   * The answer once its head is complete, undefined while more is needed; copies what it keeps.
   * @throws ProxyError ERR_GATEWAY_UPGRADE; after that, or an answer, it must not be called again
   */
  push(bytes: Buffer): UpgradeAnswer | undefined {
    let all = Buffer.concat([this.#held, bytes])
    for (;;) {
      const end = all.indexOf('\r\n\r\n')
      if (this.#headBytes + (end < 0 ? all.length : end + 4) > MAX_HEAD_BYTES)
        throw broken(`its head is over ${MAX_HEAD_BYTES} bytes`)
      if (end < 0) {
        const seen = Math.max(0, all.length - bytes.length - 1)
        if (!STATUS_LINE_START.startsWith(all.toString('latin1', 0, STATUS_LINE_START.length)))
          throw broken('it has no HTTP/1.1 status line')
        if (NEVER.test(all.toString('latin1', seen))) throw broken('a line of its head holds a control byte')
        this.#held = all
        return undefined
      }
      const answer = this.#judge(all.toString('latin1', 0, end), all.subarray(end + 4))
      if (answer !== undefined) return answer
      this.#headBytes += end + 4
      all = all.subarray(end + 4)
    }
  }

  #judge(head: string, rest: Buffer): UpgradeAnswer | undefined {
    const [statusLine, ...lines] = head.split('\r\n')
    const [, minor, code] = STATUS_LINE.exec(statusLine!) ?? []
    const status = Number(code)
    if (code === undefined || (minor === '0' && status < 200)) throw broken('it has no HTTP/1.1 status line')
    const headers = lines.map(parseLine)
    if (status !== 101) return status < 200 ? undefined : { refused: status }
    const values = (name: string) =>
      headers.filter((header) => header.name === name).map(({ value }) => value)
    const upgrade = values('upgrade')
    if (upgrade.length !== 1 || upgrade[0]!.toLowerCase() !== 'websocket')
      throw broken('its Upgrade is not websocket')
    const connection = values('connection').flatMap((value) => value.toLowerCase().split(','))
    if (!connection.some((token) => trimmed(token) === 'upgrade'))
      throw broken('its Connection is not Upgrade')
    const accept = values('sec-websocket-accept')
    if (accept.length !== 1 || accept[0] !== this.#accept)
      throw broken('its Sec-WebSocket-Accept does not fit the key')
    if (values('sec-websocket-extensions').length > 0)
      throw broken('it names an extension, and none was offered')
    if (values('sec-websocket-protocol').length > 0) throw broken('it names a protocol, and none was offered')
    return { rest }
  }
}

function parseLine(line: string): { name: string; value: string } {
  const match = HEADER_LINE.exec(line)
  if (!match) throw broken('a line of its head is not NAME: VALUE')
  return { name: match[1]!.toLowerCase(), value: trimmed(match[2]!) }
}

// The white space of HTTP, and no other: trim() takes a no-break space too.
function trimmed(value: string): string {
  let [start, end] = [0, value.length]
  while (start < end && WHITE_SPACE.includes(value[start]!)) start += 1
  while (end > start && WHITE_SPACE.includes(value[end - 1]!)) end -= 1
  return value.slice(start, end)
}

function broken(what: string): ProxyError {
  return new ProxyError('ERR_GATEWAY_UPGRADE', `the gateway's answer to the upgrade cannot be used: ${what}`)
}

const EMPTY = Buffer.alloc(0)
const WHITE_SPACE = '\t '
const MAX_HEAD_BYTES = 16 * 1024
const STATUS_LINE = /^HTTP\/1\.([01]) ([1-5][0-9]{2})(?: [\t\x20-\x7e\x80-\xff]*)?$/
const STATUS_LINE_START = 'HTTP/1.'
// A control byte, or one half of a line's end without the other. What comes next may be the other half.
const NEVER = /[^\t\r\n\x20-\x7e\x80-\xff]|\r[^\n]|[^\r]\n/
// A bare CR or LF is in none of these classes.
const HEADER_LINE = /^([!#$%&'*+.^_`|~0-9A-Za-z-]+):([\t\x20-\x7e\x80-\xff]*)$/
