/**
 * The CONNECT at the start of a tunnel: read, and decided.
 *
 * Rule 1: the head is read by the strict parser of the wire code; the bytes behind it are kept for the tunnel, and
 *         where the CONNECT is refused they are dropped, never read as a request.
 * Rule 2: credentials come first: without them, nothing is told about policy.
 * Rule 3: a tunnel is opened only where some request through it could be allowed.
 */
import { isIP } from 'node:net'
import type { Duplex } from 'node:stream'
import { type ConnectRequest, type RequestHead, RequestHeadParser } from 'upstreamproxy/wire'
import type { Core } from './core.js'
import type { Limits } from './limits.js'
import { type Allowed, decideConnect } from './policy.js'
import type { ReasonCode } from './reasons.js'
import type { Session } from './sessions.js'

/** The CONNECT is refused. `rule` is the policy's, where it came to that. */
export class ConnectRefused extends Error {
  override readonly name = 'ConnectRefused'
  readonly reason: ReasonCode
  readonly detail: string | undefined
  readonly rule: string | undefined

  constructor(reason: ReasonCode, { detail, rule }: { detail?: string | undefined; rule?: string } = {}) {
    super(reason)
    this.reason = reason
    this.detail = detail
    this.rule = rule
  }
}

/**
 * Reads the CONNECT and leaves the stream paused, the bytes behind the head put back. Throws ConnectRefused. Resolves
 * to undefined where the stream ended, or nothing came in time, before a first byte: there was no CONNECT.
 */
export function readConnect(
  stream: Duplex,
  { awaitConnectMs, headMs }: Pick<Limits, 'awaitConnectMs' | 'headMs'>,
): Promise<ConnectRequest | undefined> {
  return new Promise((resolve, reject) => {
    const parser = new RequestHeadParser()
    let deadline = setTimeout(() => settle(() => resolve(undefined)), awaitConnectMs)
    const settle = (done: () => void) => {
      clearTimeout(deadline)
      stream.off('data', onData).off('end', onEnd).off('close', onEnd)
      stream.pause()
      done()
    }
    const onData = (bytes: Buffer) => {
      if (!parser.started) {
        clearTimeout(deadline)
        deadline = setTimeout(() => settle(() => reject(new ConnectRefused('connect-timeout'))), headMs)
      }
      try {
        const head = parser.push(bytes)
        if (head === undefined) return
        const connect = asConnect(head)
        settle(() => {
          if (connect.rest.length > 0) stream.unshift(connect.rest)
          resolve(connect)
        })
      } catch (error) {
        settle(() => reject(error instanceof ConnectRefused ? error : parseFailure(error)))
      }
    }
    const onEnd = () =>
      settle(() =>
        parser.started ? reject(new ConnectRefused('connect-malformed', CUT_SHORT)) : resolve(undefined),
      )
    stream.on('data', onData).on('end', onEnd).on('close', onEnd)
  })
}

/** Decides on a CONNECT of an upgraded session. Throws ConnectRefused. */
export function admitConnect(core: Core, session: Session, connect: ConnectRequest): Allowed {
  const credentials = connect.headers.filter(({ name }) => name === 'proxy-authorization')
  if (credentials.length !== 1 || !core.sessions.isBasicOf(session, credentials[0]!.value)) {
    throw new ConnectRefused('session-credentials')
  }
  const decision = decideConnect(session.org, connect)
  if (decision.decision === 'deny') {
    throw new ConnectRefused(decision.reason, { detail: decision.detail, rule: decision.rule })
  }
  const { rule } = decision
  // Of a name, the addresses are decided on when they are looked up for a connection.
  const address = isIP(connect.host) ? core.origins.refusalOf(connect) : undefined
  if (address) throw new ConnectRefused(address, { rule })
  if (core.draining) throw new ConnectRefused('draining', { rule })
  if (!core.audit.admits()) throw new ConnectRefused('audit-unavailable', { rule })
  return decision
}

function asConnect(head: RequestHead): ConnectRequest {
  if (head.kind === 'connect') return head
  throw new ConnectRefused('connect-expected')
}

function parseFailure(error: unknown): ConnectRefused {
  const code = error instanceof Error && 'code' in error ? String(error.code) : ''
  const reason = PARSE_FAILURES.get(code) ?? 'connect-malformed'
  return new ConnectRefused(reason, { detail: error instanceof Error ? error.message : undefined })
}

const CUT_SHORT = { detail: 'the tunnel ended inside the head' }
const PARSE_FAILURES = new Map<string, ReasonCode>([
  ['ERR_CONNECT_TARGET', 'connect-target'],
  ['ERR_CONNECT_HEAD_TOO_LARGE', 'connect-too-large'],
  ['ERR_CONNECT_METHOD', 'connect-expected'],
])
