/**
 * One request inside a tunnel and its response: checked, decided on, forwarded, recorded.
 *
 * Rule 1: every request has exactly one record, written when its exchange is over, however that came about.
 * Rule 2: bodies stream both ways, each side waiting for the other; nothing is gathered.
 * Rule 3: a response that breaks off upstream is broken for the client: the tunnel fails. It never ends short and clean.
 * Rule 4: whoever goes away takes the exchange along: a client that is gone aborts the request to the origin.
 * Rule 5: a request is repeated only where nothing of it can have been acted upon twice: no body, a safe method, on a
 *         kept connection that was found dead (RFC 9110 §9.2.2).
 */
import type { ClientRequest, IncomingMessage, ServerResponse } from 'node:http'
import type { TLSSocket } from 'node:tls'
import { refusal } from './answers.js'
import { recordedPath } from './audit.js'
import type { Core } from './core.js'
import { headersForClient, headersForOrigin, trailerPairs } from './headers.js'
import { errorText } from './log.js'
import { OriginError } from './origins.js'
import { type Allowed, decideRequest } from './policy.js'
import { type ReasonCode, reasonOf } from './reasons.js'
import { type CheckedRequest, checkRequest, hostHeader } from './request-check.js'
import type { Tunnel } from './tunnel.js'

type Admitted = Extract<CheckedRequest, { ok: true }>

/** Takes a request of Node's server; `run` does the rest. */
export class Exchange {
  readonly #core: Core
  readonly #tunnel: Tunnel
  readonly #request: IncomingMessage
  readonly #response: ServerResponse
  readonly #id: string
  readonly #startedAt = performance.now()
  #upstream: ClientRequest | undefined
  #set: Allowed['set'] = []
  #injected: readonly string[] = []
  #rule: string | null = null
  #decision: 'allow' | 'deny' = 'deny'
  #reason: ReasonCode | null = null
  #detail: string | null = null
  #status: number | null = null
  #waitMs: number | null = null
  #bytesUp = 0
  #bytesDown = 0
  #recorded = false

  constructor(core: Core, tunnel: Tunnel, request: IncomingMessage, response: ServerResponse) {
    this.#core = core
    this.#tunnel = tunnel
    this.#request = request
    this.#response = response
    this.#id = `${tunnel.id}-${++tunnel.requests}`
    // The origin's own Date goes through, or none.
    response.sendDate = false
    response.once('finish', () => this.#answered())
    request.once('close', () => this.#release())
    tunnel.exchanges.add(this)
  }

  run(): void {
    try {
      this.#admit()
    } catch (error) {
      this.#core.log.error('request-failed', { request: this.#id, cause: errorText(error) })
      this.#refuse('internal')
    }
  }

  /** The tunnel is over, and with it all that was not complete. */
  tunnelClosed(reason: ReasonCode): void {
    this.#upstream?.destroy()
    this.#record(reason)
  }

  /** The parser gave up. Says whether it was inside this request's body, and answers for it then. */
  bodyBroke(reason: ReasonCode, detail: string): boolean {
    if (this.#request.complete) return false
    this.#upstream?.destroy()
    if (this.#response.writableEnded) return true
    if (!this.#response.headersSent) {
      this.#refuse(reason, detail)
      return true
    }
    this.#detail = detail
    this.#record(reason)
    this.#tunnel.fail(reason)
    return true
  }

  #admit(): void {
    const { method = '', url = '', rawHeaders, socket } = this.#request
    const { destination, session, exchanges } = this.#tunnel
    if (this.#core.draining) return this.#refuse('draining')
    if (exchanges.size > this.#core.limits.maxRequestsPerTunnel) return this.#refuse('too-many-requests')
    const serverName = (socket as TLSSocket & { servername?: string | false | null }).servername ?? null
    const checked = checkRequest({ method, target: url, rawHeaders, serverName }, destination)
    if (!checked.ok) return this.#refuse(checked.reason, checked.detail)
    const decision = decideRequest(session.org, { ...destination, method, path: checked.path })
    this.#rule = decision.rule
    if (decision.decision === 'deny') return this.#refuse(decision.reason, decision.detail)
    if (!this.#core.audit.admits()) return this.#refuse('audit-unavailable')
    this.#decision = 'allow'
    this.#set = decision.set
    this.#forward(checked)
  }

  #forward(checked: Admitted, fresh = false): void {
    const request = this.#request
    const set = this.#set
    const { destination, session } = this.#tunnel
    const method = request.method!
    const upstream = this.#core.origins.request(session.id, destination, {
      method,
      target: checked.target,
      headers: [
        ...headersForOrigin(request.rawHeaders, {
          authority: hostHeader(destination),
          chunked: checked.body === 'chunked',
          set,
        }),
        // RFC 9110 §8.6: a method that expects a body says that there is none.
        ...(checked.body === 'none' && WITH_BODY.has(method) ? ['Content-Length', '0'] : []),
      ],
      fresh,
    })
    this.#upstream = upstream
    // Handed over verified (origins.ts): from here on the origin has the headers.
    upstream.on('socket', () => {
      this.#injected = set.map(({ name }) => name)
    })
    upstream.on('response', (response) => this.#relayResponse(response))
    upstream.on('upgrade', (_, socket) => {
      socket.destroy()
      this.#upstreamFailed(new OriginError('upstream-malformed', 'a 101 that was not asked for'))
    })
    // Whatever else may end it without a response.
    upstream.on('close', () => {
      if (this.#upstream === upstream && this.#waitMs === null)
        this.#upstreamFailed(new OriginError('upstream-closed'))
    })
    upstream.on('timeout', () => upstream.destroy(new OriginError('upstream-timeout')))
    upstream.on('error', (error) => {
      const repeatable = checked.body === 'none' && SAFE.has(method) && !fresh
      const dead = upstream.reusedSocket && DEAD_CONNECTION.has(errorText(error))
      if (repeatable && dead && this.#waitMs === null && !this.#recorded) this.#forward(checked, true)
      else this.#upstreamFailed(error)
    })
    if (checked.expectContinue) {
      upstream.on('continue', () => this.#response.writeContinue())
      upstream.flushHeaders()
    }
    if (checked.body === 'none') {
      // Read to its end all the same: the server is to see that the message is over.
      request.resume()
      upstream.end()
    } else {
      this.#relayBody(upstream)
    }
  }

  #relayBody(upstream: ClientRequest): void {
    const request = this.#request
    request.on('data', (bytes: Buffer) => {
      this.#bytesUp += bytes.length
    })
    request.pipe(upstream, { end: false })
    request.once('end', () => {
      const trailers = trailerPairs(request.rawTrailers, this.#set)
      if (trailers.length > 0) upstream.addTrailers(trailers)
      upstream.end()
    })
  }

  #relayResponse(upstream: IncomingMessage): void {
    const response = this.#response
    this.#waitMs = Math.round(performance.now() - this.#startedAt)
    this.#status = upstream.statusCode!
    if (this.#core.draining) response.shouldKeepAlive = false
    try {
      response.writeHead(upstream.statusCode!, upstream.statusMessage, headersForClient(upstream.rawHeaders))
    } catch (error) {
      this.#upstream?.destroy(new OriginError('upstream-malformed', errorText(error)))
      return
    }
    // A stream of events may begin with silence.
    response.flushHeaders()
    upstream.on('data', (bytes: Buffer) => {
      this.#bytesDown += bytes.length
    })
    upstream.pipe(response, { end: false })
    upstream.once('end', () => {
      if (!upstream.complete) return
      const trailers = trailerPairs(upstream.rawTrailers, [])
      if (trailers.length > 0) response.addTrailers(trailers)
      response.end()
    })
    upstream.once('error', (error) => this.#upstreamFailed(error))
    upstream.once('close', () => {
      if (!upstream.complete) this.#upstreamFailed(new OriginError('upstream-aborted'))
    })
  }

  #upstreamFailed(error: Error): void {
    if (this.#recorded || this.#response.writableEnded) return
    const reason = error instanceof OriginError ? error.reason : reasonAfterConnect(error)
    const detail = error instanceof OriginError ? error.detail : errorText(error)
    if (!this.#response.headersSent) {
      this.#status = null
      this.#refuse(reason, detail)
      return
    }
    this.#detail = detail ?? null
    this.#record('upstream-aborted')
    this.#tunnel.fail('upstream-aborted')
  }

  #refuse(code: ReasonCode, detail?: string): void {
    const response = this.#response
    this.#reason = code
    this.#detail = detail ?? null
    this.#status = reasonOf(code).status ?? 500
    const answer = refusal(code, { detail, recordId: this.#id })
    // What is left of a body would have to be read to its end before the next request.
    const { headers } = this.#request
    const hasBody = headers['transfer-encoding'] !== undefined || (headers['content-length'] ?? '0') !== '0'
    if (hasBody || this.#core.draining) response.shouldKeepAlive = false
    this.#request.unpipe()
    this.#request.resume()
    response.writeHead(answer.status, answer.statusText, [...answer.headers])
    response.end(this.#request.method === 'HEAD' ? undefined : answer.body)
    if (this.#request.method !== 'HEAD') this.#bytesDown += answer.body.length
  }

  #answered(): void {
    this.#record(this.#reason)
    this.#release()
  }

  // Over when the response is written and the request read: until then a client that goes away must be noticed.
  #release(): void {
    if (this.#recorded && this.#request.complete) this.#tunnel.release(this)
  }

  #record(reason: ReasonCode | null): void {
    if (this.#recorded) return
    this.#recorded = true
    const { session, destination, id } = this.#tunnel
    this.#core.audit.write({
      event: 'request',
      session: session.id,
      org: session.org.name,
      connection: id,
      request: this.#id,
      method: this.#request.method ?? null,
      host: destination.host,
      port: destination.port,
      path: recordedPath(this.#request.url ?? ''),
      rule: this.#rule,
      injected: this.#injected,
      decision: this.#decision,
      reason: this.#reason ?? reason,
      detail: this.#detail,
      status: this.#status,
      bytesUp: this.#bytesUp,
      bytesDown: this.#bytesDown,
      waitMs: this.#waitMs,
      durationMs: Math.round(performance.now() - this.#startedAt),
    })
  }
}

/** Records a request that never became an exchange. Returns the id of the record. */
export function recordRefused(
  core: Core,
  tunnel: Tunnel,
  reason: ReasonCode,
  facts: { method: string | null; detail?: string },
  answered = true,
): string {
  const request = `${tunnel.id}-${++tunnel.requests}`
  core.audit.write({
    event: 'request',
    session: tunnel.session.id,
    org: tunnel.session.org.name,
    connection: tunnel.id,
    request,
    method: facts.method,
    ...tunnel.destination,
    path: null,
    rule: null,
    injected: [],
    decision: 'deny',
    reason,
    detail: facts.detail ?? null,
    status: answered ? (reasonOf(reason).status ?? null) : null,
    bytesUp: 0,
    bytesDown: 0,
    waitMs: null,
    durationMs: 0,
  })
  return request
}

function reasonAfterConnect(error: Error): ReasonCode {
  return errorText(error).startsWith('HPE_') ? 'upstream-malformed' : 'upstream-closed'
}

const SAFE = new Set(['GET', 'HEAD', 'OPTIONS'])
const WITH_BODY = new Set(['POST', 'PUT', 'PATCH'])
const DEAD_CONNECTION = new Set(['ECONNRESET', 'EPIPE'])
