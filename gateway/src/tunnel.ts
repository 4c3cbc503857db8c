/**
 * One tunnel from its upgrade to its end: CONNECT, the TLS inside, the requests inside that, the record.
 *
 * Rule 1: a CONNECT has exactly one record, written when its tunnel is over, however that came about.
 * Rule 2: whatever ends a tunnel ends its requests, towards the origins too.
 */
import { randomBytes } from 'node:crypto'
import type { Socket } from 'node:net'
import { TLSSocket } from 'node:tls'
import type { ConnectRequest } from 'upstreamproxy/wire'
import type { WebSocket } from 'ws'
import { CONNECTION_ESTABLISHED, refusalBytes } from './answers.js'
import { admitConnect, ConnectRefused, readConnect } from './connect.js'
import type { Core } from './core.js'
import type { Exchange } from './exchange.js'
import type { Inside } from './inside.js'
import { errorText } from './log.js'
import { type ReasonCode, reasonOf } from './reasons.js'
import type { Session } from './sessions.js'
import { TunnelError, TunnelStream } from './tunnel-stream.js'

/** Takes a WebSocket that was upgraded for a session; `run` does the rest. */
export class Tunnel {
  readonly id = randomBytes(8).toString('hex')
  readonly session: Session
  readonly stream: TunnelStream
  /** requests that are under way */
  readonly exchanges = new Set<Exchange>()
  /** resolves once it is over and recorded */
  readonly ended: Promise<void>
  /** requests that have begun */
  requests = 0
  readonly #core: Core
  readonly #inside: Inside
  readonly #startedAt = performance.now()
  #connect: ConnectRequest | undefined
  #tls: TLSSocket | undefined
  #rule: string | null = null
  #decision: 'allow' | 'deny' = 'deny'
  #reason: ReasonCode | null = null
  #detail: string | null = null
  #status: number | null = null
  #drained = false
  #recorded = false

  constructor(core: Core, inside: Inside, webSocket: WebSocket, session: Session) {
    this.#core = core
    this.#inside = inside
    this.session = session
    this.stream = new TunnelStream(webSocket, core.limits)
    this.ended = new Promise((resolve) => {
      this.stream.once('close', () => {
        this.#finish()
        resolve()
      })
    })
  }

  /** canonical host and port of the CONNECT */
  get destination(): { readonly host: string; readonly port: number } {
    const { host, port } = this.#connect!
    return { host, port }
  }

  /** Never rejects. */
  async run(): Promise<void> {
    try {
      const connect = await readConnect(this.stream, this.#core.limits)
      if (connect === undefined) {
        this.stream.resume().end()
        return
      }
      this.#connect = connect
      this.#rule = admitConnect(this.#core, this.session, connect).rule
      this.#decision = 'allow'
      const secureContext = await this.#core.leaves.contextFor(connect.host)
      if (this.stream.destroyed) return
      if (this.#drained) throw new ConnectRefused('draining')
      this.#status = 200
      this.stream.write(CONNECTION_ESTABLISHED)
      this.#openTls(secureContext)
    } catch (error) {
      if (!(error instanceof ConnectRefused)) {
        this.#core.log.error('connect-failed', { connection: this.id, cause: errorText(error) })
      }
      this.#refuse(error instanceof ConnectRefused ? error : new ConnectRefused('internal'))
    }
  }

  /** Breaks the tunnel: what was written goes out, the client then sees an error. */
  fail(reason: ReasonCode): void {
    this.stream.fail(reason)
  }

  /** Ends the tunnel as soon as no request is under way. */
  drain(): void {
    this.#drained = true
    this.#endIfDrained()
  }

  /** A request is over. */
  release(exchange: Exchange): void {
    this.exchanges.delete(exchange)
    if (this.#drained) setImmediate(() => this.#endIfDrained())
  }

  #endIfDrained(): void {
    if (this.exchanges.size > 0 || this.stream.destroyed) return
    if (this.#tls) this.#tls.end()
    else if (this.#connect === undefined) this.stream.resume().end()
  }

  #refuse({ reason, detail, rule }: ConnectRefused): void {
    this.#decision = 'deny'
    this.#reason = reason
    this.#detail = detail ?? null
    this.#rule = rule ?? this.#rule
    this.#status = reasonOf(reason).status ?? 500
    // Nothing more will come of it, however long the relay takes to close.
    this.stream.once('finish', () => this.#record())
    // What came behind the head is dropped.
    this.stream.resume().end(refusalBytes(reason, { detail, recordId: this.id }))
  }

  #openTls(secureContext: Awaited<ReturnType<Core['leaves']['contextFor']>>): void {
    const tls = new TLSSocket(this.stream as unknown as Socket, {
      isServer: true,
      secureContext,
      ALPNProtocols: ['http/1.1'],
    })
    this.#tls = tls
    const deadline = setTimeout(() => this.fail('tls-handshake-timeout'), this.#core.limits.handshakeMs)
    const fail = (error: Error) => {
      this.#reason ??= 'tls-handshake-failed'
      this.#detail ??= errorText(error)
      // The alert that OpenSSL has written should reach the client first.
      setImmediate(() => this.fail('tls-handshake-failed'))
    }
    tls.once('error', fail)
    tls.once('close', () => clearTimeout(deadline))
    tls.once('secure', () => {
      clearTimeout(deadline)
      tls.off('error', fail)
      this.#inside.serve(this, tls)
    })
  }

  #finish(): void {
    const error = this.stream.errored
    // A client that closes is no failure of the tunnel; what it left behind has records of its own.
    const broken = error instanceof TunnelError ? error.reason : error ? 'tunnel-lost' : 'client-aborted'
    for (const exchange of this.exchanges) {
      exchange.tunnelClosed(broken === 'tunnel-lost' ? 'client-aborted' : broken)
    }
    if (broken !== 'client-aborted' && this.#connect !== undefined) this.#reason ??= broken
    this.#record()
  }

  #record(): void {
    // A tunnel in which nothing was sent had no CONNECT.
    if (this.#recorded || (this.#connect === undefined && this.#reason === null)) return
    this.#recorded = true
    this.#core.audit.write({
      event: 'connect',
      session: this.session.id,
      org: this.session.org.name,
      connection: this.id,
      host: this.#connect?.host ?? null,
      port: this.#connect?.port ?? null,
      rule: this.#rule,
      decision: this.#decision,
      reason: this.#reason,
      detail: this.#detail,
      status: this.#status,
      requests: this.requests,
      bytesUp: this.stream.bytesUp,
      bytesDown: this.stream.bytesDown,
      durationMs: Math.round(performance.now() - this.#startedAt),
    })
  }
}
