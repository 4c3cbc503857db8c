/** What the relay tells of itself at `GET /__upstreamproxy/status`: counts and codes, nothing secret. */
import { ProxyError } from '../errors.js'
import { type Capabilities, capabilities } from '../platform/index.js'
import { VERSION } from '../version.js'
import type { OriginRequest } from '../wire/request-head.js'
import { errorAnswer, jsonAnswer } from './answers.js'
import type { Counters, Failure } from './counters.js'
import type { EngineName } from './engine.js'

export const STATUS_PATH = '/__upstreamproxy/status'

export interface RelayStatus {
  readonly name: 'upstreamproxy'
  readonly version: string
  /** which engine carries the bytes */
  readonly engine: EngineName
  /** where the relay runs: in the host's own thread, in one of its own, or nowhere any more, since that one has ended */
  readonly thread: 'host' | 'own' | 'ended'
  /** what serves each capability of this machine, and why */
  readonly capabilities: Capabilities
  /** when the relay began to listen, ISO 8601 */
  readonly since: string
  readonly port: number
  readonly tunnels: { readonly open: number; readonly total: number }
  /** tunnelled bytes since then, without framing */
  readonly bytes: { readonly up: number; readonly down: number }
  /** the last 20, oldest first */
  readonly failures: readonly Failure[]
}

/** What is the same for as long as a relay lives. */
export interface RelayIdentity {
  readonly engine: EngineName
  readonly since: string
  readonly port: number
}

export function statusOf(
  { engine, since, port }: RelayIdentity,
  counters: Counters,
  thread: RelayStatus['thread'],
): RelayStatus {
  return {
    name: 'upstreamproxy',
    version: VERSION,
    engine,
    thread,
    capabilities: capabilities(engine),
    since,
    port,
    tunnels: { open: counters.tunnelsOpen, total: counters.tunnelsTotal },
    bytes: { up: counters.bytesUp, down: counters.bytesDown },
    failures: counters.failures(),
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

const LOOPBACK_HOST = /^(?:127\.0\.0\.1|localhost|\[::1\])(?::[0-9]{1,5})?$/i
