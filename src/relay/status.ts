/** What the relay tells of itself at `GET /__upstreamproxy/status`: counts and codes, nothing secret. */
import { type ErrorCode, ProxyError } from '../errors.js'
import { type Capabilities, capabilities } from '../platform/index.js'
import { VERSION } from '../version.js'
import type { OriginRequest } from '../wire/request-head.js'
import { errorAnswer, jsonAnswer } from './answers.js'
import type { EngineName } from './engine.js'

export const STATUS_PATH = '/__upstreamproxy/status'

export interface RelayStatus {
  readonly name: 'upstreamproxy'
  readonly version: string
  /** which engine carries the bytes */
  readonly engine: string
  /** what serves each capability of this machine, and why */
  readonly capabilities: Capabilities
  /** when the relay began to listen, ISO 8601 */
  readonly since: string
  readonly port: number
  readonly tunnels: { readonly open: number; readonly total: number }
  /** tunnelled bytes since then, without framing */
  readonly bytes: { readonly up: number; readonly down: number }
  /** the last 20, oldest first */
  readonly failures: readonly { readonly at: string; readonly code: ErrorCode }[]
}

/** The relay's counters. Engines add to them. */
export class Counters {
  tunnelsOpen = 0
  tunnelsTotal = 0
  bytesUp = 0
  bytesDown = 0
  readonly #engine: EngineName
  readonly #since = new Date().toISOString()
  readonly #failures: { at: string; code: ErrorCode }[] = []

  constructor(engine: EngineName) {
    this.#engine = engine
  }

  fail(code: ErrorCode): void {
    this.#failures.push({ at: new Date().toISOString(), code })
    if (this.#failures.length > MAX_FAILURES) this.#failures.shift()
  }

  status(port: number): RelayStatus {
    return {
      name: 'upstreamproxy',
      version: VERSION,
      engine: this.#engine,
      capabilities: capabilities(this.#engine),
      since: this.#since,
      port,
      tunnels: { open: this.tunnelsOpen, total: this.tunnelsTotal },
      bytes: { up: this.bytesUp, down: this.bytesDown },
      failures: [...this.#failures],
    }
  }
}

/**
 * The answer to a request in origin form. Anything but the status document is 405; a Host that is not loopback is
 * 403, so that a page in a browser cannot read the document under a name of its own (DNS rebinding).
 */
export function answerOrigin(request: OriginRequest, status: () => RelayStatus): Buffer {
  if (request.method !== 'GET' || request.target !== STATUS_PATH) {
    return errorAnswer(
      new ProxyError('ERR_CONNECT_METHOD', 'only CONNECT is served: this proxy carries HTTPS only', {
        hint: 'set HTTPS_PROXY, not HTTP_PROXY',
      }),
    )
  }
  const hosts = request.headers.filter(({ name }) => name === 'host')
  if (hosts.length !== 1 || !LOOPBACK_HOST.test(hosts[0]!.value)) {
    return errorAnswer(new ProxyError('ERR_STATUS_HOST', 'the Host header does not name a loopback address'))
  }
  return jsonAnswer(status())
}

const MAX_FAILURES = 20
const LOOPBACK_HOST = /^(?:127\.0\.0\.1|localhost|\[::1\])(?::[0-9]{1,5})?$/i
