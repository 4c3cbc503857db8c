/**
 * One request inside a tunnel: checked, decided on, forwarded or refused, recorded.
 *
 * Rule 1: every request has exactly one record, written when its exchange is over, however that came about.
 * Rule 2: policy and audit are asked on every request, not once a tunnel.
 * Rule 3: a response that breaks off upstream breaks the client's: the tunnel fails. It never ends short and clean.
 * Rule 4: whoever goes away takes the exchange along: a client that is gone aborts the request to the origin.
 */
import type { IncomingMessage, ServerResponse } from 'node:http'
import type { TLSSocket } from 'node:tls'
import { refusal } from './answers.js'
import { recordedPath } from './audit.js'
import type { Core } from './core.js'
import { Forward } from './forward.js'
import { errorText } from './log.js'
import { decideRequest, type InjectedHeader } from './policy.js'
import { type ReasonCode, reasonOf } from './reasons.js'
import { checkRequest } from './request-check.js'
import type { Tunnel } from './tunnel.js'

/** Takes a request of Node's server; `run` does the rest. */
export class Exchange {
  readonly #core: Core
  readonly #tunnel: Tunnel
  readonly #request: IncomingMessage
  readonly #response: ServerResponse
  readonly #id: string
  readonly #startedAt = performance.now()
  #forward: Forward | undefined
  #target: string | undefined
  #rule: string | null = null
  #injected: readonly string[] = []
  #decision: 'allow' | 'deny' = 'deny'
  #reason: ReasonCode | null = null
  #detail: string | null = null
  #status: number | null = null
  #waitMs: number | null = null
  #answerBytes = 0
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
    this.#forward?.abort()
    this.#record(reason)
  }

  /** The parser gave up. Says whether it was inside this request's body, and answers for it then. */
  bodyBroke(reason: ReasonCode, detail: string): boolean {
    if (this.#request.complete) return false
    this.#forward?.abort()
    // Refused already, for another reason.
    if (this.#reason === null) this.#failed(reason, detail)
    return true
  }

  #admit(): void {
    const { method = '', url = '', rawHeaders, socket } = this.#request
    const { destination, session, exchanges } = this.#tunnel
    // Of another form, it may hold what is not for the record (`https://user:password@…`).
    if (url.startsWith('/')) this.#target = url
    if (this.#core.draining) return this.#refuse('draining')
    if (exchanges.size > this.#core.limits.maxRequestsPerTunnel) return this.#refuse('too-many-requests')
    const serverName = (socket as TLSSocket & { servername?: string | false | null }).servername ?? null
    const checked = checkRequest({ method, target: url, rawHeaders, serverName }, destination)
    if (!checked.ok) return this.#refuse(checked.reason, checked.detail)
    this.#target = checked.target
    const decision = decideRequest(session.org, { ...destination, method, path: checked.path })
    this.#rule = decision.rule
    if (decision.decision === 'deny') return this.#refuse(decision.reason, decision.detail)
    if (!this.#core.audit.admits()) return this.#refuse('audit-unavailable')
    this.#decision = 'allow'
    this.#forward = new Forward({
      origins: this.#core.origins,
      session: session.id,
      destination,
      request: this.#request,
      response: this.#response,
      checked,
      set: decision.set,
      events: {
        connected: () => this.#connected(decision.set),
        responded: (status) => this.#responded(status),
        failed: (reason, detail) => this.#failed(reason, detail),
      },
    })
    this.#forward.start()
  }

  #connected(set: readonly InjectedHeader[]): void {
    this.#injected = set.map(({ name }) => name)
  }

  #responded(status: number): void {
    this.#status = status
    this.#waitMs = Math.round(performance.now() - this.#startedAt)
  }

  #failed(reason: ReasonCode, detail: string | undefined): void {
    if (!this.#response.headersSent) {
      this.#refuse(reason, detail)
      return
    }
    this.#detail = detail ?? null
    const broken = reason.startsWith('upstream-') ? 'upstream-aborted' : reason
    this.#record(broken)
    this.#tunnel.fail(broken)
  }

  #refuse(code: ReasonCode, detail?: string): void {
    const request = this.#request
    const response = this.#response
    this.#reason = code
    this.#detail = detail ?? null
    this.#status = reasonOf(code).status ?? 500
    const answer = refusal(code, { detail, recordId: this.#id })
    const unread = hasBody(request) && !request.complete
    // What is left of a body would have to be read to its end before the next request.
    if (unread || this.#core.draining) response.shouldKeepAlive = false
    request.resume()
    response.writeHead(answer.status, answer.statusText, [...answer.headers])
    if (request.method === 'HEAD') return void response.end()
    this.#answerBytes = answer.body.length
    response.write(answer.body)
    if (unread && request.headers.expect === undefined) this.#endAfterBody()
    else response.end()
  }

  // The answer is out, all of it. A client that is still sending would see its connection break, perhaps before it has
  // read the answer: it may finish, or take its time to notice (RFC 9112 §9.6).
  #endAfterBody(): void {
    const end = () => {
      clearTimeout(deadline)
      this.#response.end()
    }
    const deadline = setTimeout(end, this.#core.limits.lingerMs)
    this.#request.once('close', end)
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
      ...destination,
      path: this.#target === undefined ? null : recordedPath(this.#target),
      rule: this.#rule,
      injected: this.#injected,
      decision: this.#decision,
      reason: this.#reason ?? reason,
      detail: this.#detail,
      status: this.#status,
      bytesUp: this.#forward?.bytesUp ?? 0,
      bytesDown: (this.#forward?.bytesDown ?? 0) + this.#answerBytes,
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

function hasBody({ headers }: IncomingMessage): boolean {
  return headers['transfer-encoding'] !== undefined || (headers['content-length'] ?? '0') !== '0'
}
