/**
 * The life of one tunnel, from the client's first byte to the last: bytes and events in, actions out.
 *
 * Rule 1: this file never touches a socket, a timer or a clock; time comes in with `tick`.
 * Rule 2: the CONNECT chunk is the first chunk, then the bytes that came with or after the head, in order.
 * Rule 3: once a byte of the gateway's has gone to the client, no byte of our own does (invariant 4).
 * Rule 4: a broken tunnel ends as a reset, never as a clean end; a clean end stays clean (invariant 5).
 * Rule 5: after an answer other than 2xx nothing more goes up, and the connection serves no other request.
 * Rule 6: each failure is recorded once, and the tunnel is released once, when both sides have been told.
 */
import { ProxyError } from '../errors.js'
import type { ConnectRequest, OriginRequest } from './request-head.js'
import { RequestHeadParser } from './request-head.js'
import { StatusLine } from './status-line.js'

/** What an engine does for a tunnel. Calls come synchronously out of the tunnel's own methods. */
export interface TunnelActions {
  /** start the upgrade */
  dial(request: ConnectRequest): void
  /** send the CONNECT chunk */
  sendConnect(request: ConnectRequest): void
  /** send as chunks, in order */
  sendUp(bytes: Buffer): void
  /** write to the client, in order */
  writeDown(bytes: Buffer): void
  /** answer with an error of our own, then close once the client has had the chance to read it */
  answer(error: ProxyError): void
  /** answer a request for the relay itself, then close likewise */
  serve(request: OriginRequest): void
  /** flush to the client, then FIN */
  endClient(): void
  /** flush to the client what can be, then RST */
  resetClient(): void
  /** flush to the gateway, then Close 1000 */
  closeGateway(): void
  /** drop the connection to the gateway: no Close frame */
  abortGateway(): void
  sendKeepalive(): void
  sendPing(): void
  /** a failure, for the status document and the log */
  record(error: ProxyError): void
  /** the tunnel asks for nothing more: what is left to flush is the engine's */
  release(): void
}

export interface TunnelDeadlines {
  readonly maxHeadBytes: number
  readonly headTimeoutMs: number
  readonly gatewayTimeoutMs: number
  readonly keepaliveMs: number
  readonly pingMs: number
  readonly pongTimeoutMs: number
  readonly closeTimeoutMs: number
}

/**
 * head: reading the client's request · dialing: the upgrade is under way · waiting: no byte of the gateway's yet ·
 * answering: its status line is incomplete · open: bytes both ways · refused: an answer other than 2xx, down only ·
 * closing: Close sent, down only · over
 */
export type TunnelPhase =
  | 'head'
  | 'dialing'
  | 'waiting'
  | 'answering'
  | 'open'
  | 'refused'
  | 'closing'
  | 'over'

export class Tunnel {
  readonly #actions: TunnelActions
  readonly #deadlines: TunnelDeadlines
  readonly #head: RequestHeadParser
  readonly #statusLine = new StatusLine()
  #phase: TunnelPhase = 'head'
  #request: ConnectRequest | undefined
  #early: Buffer[] = []
  #earlyBytes = 0
  #clientEnded = false
  #gatewaySpoke = false
  #now: number
  // When the current phase's deadline runs from.
  #since: number
  #sentUpAt = 0
  #pingedAt = 0
  #aliveAt = 0
  #unsentBytes = 0

  /** `now` is a monotonic time in ms. */
  constructor(actions: TunnelActions, deadlines: TunnelDeadlines, now: number) {
    this.#actions = actions
    this.#deadlines = deadlines
    this.#head = new RequestHeadParser({ maxHeadBytes: deadlines.maxHeadBytes })
    this.#now = now
    this.#since = now
  }

  get phase(): TunnelPhase {
    return this.#phase
  }

  /** true where bytes of the client's are kept for later, and not only passed on */
  get keeps(): boolean {
    return this.#phase === 'head' || this.#phase === 'dialing'
  }

  /**
   * true where the gateway's bytes need nobody's look any more: its status line is complete, and the tunnel lives. They may
   * then go to the client without this tunnel, which `gatewayPassed` tells.
   */
  get streams(): boolean {
    return (
      this.#phase === 'open' ||
      this.#phase === 'refused' ||
      (this.#phase === 'closing' && this.#statusLine.complete)
    )
  }

  /** bytes that wait here for the upgrade */
  get earlyBytes(): number {
    return this.#earlyBytes
  }

  clientBytes(bytes: Buffer): void {
    switch (this.#phase) {
      case 'head':
        return this.#readHead(bytes)
      case 'dialing':
        this.#early.push(bytes)
        this.#earlyBytes += bytes.length
        return
      case 'waiting':
      case 'answering':
      case 'open':
        return this.#sendUp(bytes)
      default:
      // refused, closing, over: nothing more goes up (rule 5).
    }
  }

  /** The client sent FIN. v1 has no half-close: what it sent is flushed, then the tunnel closes (RFC 9110 §9.3.6). */
  clientEnd(): void {
    this.#clientEnded = true
    switch (this.#phase) {
      case 'head':
        if (!this.#head.started) return this.#finish('endClient')
        return this.#answer(new ProxyError('ERR_CONNECT_HEAD_MALFORMED', 'the request head was cut short'))
      case 'waiting':
      case 'answering':
      case 'open':
        return this.#close()
      default:
      // dialing: after the upgrade. refused, closing, over: the end is under way.
    }
  }

  /** The client's connection broke. */
  clientBroken(): void {
    if (this.#phase === 'over') return
    const dialled = this.#phase !== 'head'
    // A client that has sent its FIN, or has its refusal, may drop the rest: that is no failure.
    if (dialled && this.#phase !== 'closing' && this.#phase !== 'refused') {
      this.#actions.record(new ProxyError('ERR_CLIENT_RESET', 'the client broke its connection'))
    }
    if (dialled) this.#actions.abortGateway()
    this.#finish('resetClient')
  }

  /** The upgrade is done. */
  gatewayOpen(): void {
    if (this.#phase !== 'dialing') return
    this.#phase = 'waiting'
    this.#pingedAt = this.#aliveAt = this.#now
    this.#sentUpAt = this.#now
    this.#actions.sendConnect(this.#request!)
    for (const bytes of this.#early) this.#sendUp(bytes)
    this.#early = []
    this.#earlyBytes = 0
    if (this.#clientEnded) this.#close()
  }

  /** A chunk's payload, or a part of it. */
  gatewayBytes(bytes: Buffer): void {
    if (bytes.length === 0 || this.#phase === 'over' || this.#phase === 'head' || this.#phase === 'dialing')
      return
    this.#gatewaySpoke = true
    this.#since = this.#now
    if (!this.#statusLine.complete) this.#readStatusLine(bytes)
    this.#actions.writeDown(bytes)
    if (this.#statusLine.malformed) {
      this.gatewayFailed(
        new ProxyError('ERR_GATEWAY_PROTOCOL', 'the answer to CONNECT has no HTTP status line'),
      )
    }
  }

  /** Bytes of the gateway's have gone to the client where it `streams`. */
  gatewayPassed(): void {
    this.#since = this.#now
  }

  /** The gateway answered a ping. */
  gatewayPong(): void {
    this.#aliveAt = this.#now
  }

  /** The gateway ended the tunnel in good order: Close 1000, Close without a code, or FIN between messages. */
  gatewayEnd(): void {
    if (this.#phase === 'over') return
    if (!this.#gatewaySpoke) {
      const early = new ProxyError(
        'ERR_GATEWAY_CLOSED_EARLY',
        'the gateway closed before it answered the CONNECT',
      )
      return this.#answer(early)
    }
    if (!this.#statusLine.complete) {
      return this.gatewayFailed(new ProxyError('ERR_GATEWAY_CLOSED', 'the gateway closed inside its answer'))
    }
    this.#finish('endClient')
  }

  /** The way to the gateway failed, before the upgrade or after. */
  gatewayFailed(error: ProxyError): void {
    if (this.#phase === 'over') return
    if (!this.#gatewaySpoke) return this.#answer(error)
    this.#break(error)
  }

  /** The relay is shutting down and the time to drain is up. */
  shutdown(): void {
    if (this.#phase === 'over') return
    if (this.#phase === 'head' && !this.#head.started) return this.#finish('endClient')
    const closing = new ProxyError('ERR_RELAY_CLOSING', 'the relay is shutting down')
    if (!this.#gatewaySpoke) return this.#answer(closing)
    this.#break(closing)
  }

  /**
   * Time passes: `now` in ms; whether reading from the gateway was paused at any time since the last call (a pong may
   * then lie unread, and the deadlines on the gateway stand still); how many bytes still wait to go up.
   */
  tick(now: number, readingWasPaused: boolean, unsentBytes: number): void {
    this.#now = now
    if (readingWasPaused) this.#aliveAt = this.#since = now
    // A Close waits behind what was sent before it: as long as that moves, the gateway is not late.
    if (this.#phase === 'closing' && unsentBytes < this.#unsentBytes) this.#since = now
    this.#unsentBytes = unsentBytes
    switch (this.#phase) {
      case 'head':
        return this.#expireHead()
      case 'dialing':
      case 'waiting':
        if (this.#expireGateway()) return
        break
      case 'refused':
        if (now - this.#since > this.#deadlines.closeTimeoutMs) {
          this.#actions.closeGateway()
          this.#finish('endClient')
        }
        return
      case 'closing':
        if (now - this.#since > this.#deadlines.closeTimeoutMs) {
          this.gatewayFailed(
            new ProxyError('ERR_GATEWAY_TIMEOUT', 'the gateway did not finish after a Close'),
          )
        }
        return
      case 'over':
        return
      default:
    }
    if (this.#phase !== 'dialing') this.#keepAlive()
  }

  #readHead(bytes: Buffer): void {
    try {
      const request = this.#head.push(bytes)
      if (request === undefined) return
      if (request.kind === 'origin') {
        this.#phase = 'over'
        this.#actions.serve(request)
        return this.#actions.release()
      }
      this.#request = request
      this.#early = request.rest.length > 0 ? [request.rest] : []
      this.#earlyBytes = request.rest.length
      this.#phase = 'dialing'
      this.#since = this.#now
      this.#actions.dial(request)
    } catch (error) {
      if (!(error instanceof ProxyError)) throw error
      this.#answer(error)
    }
  }

  #readStatusLine(bytes: Buffer): void {
    if (this.#phase === 'waiting') this.#phase = 'answering'
    this.#statusLine.push(bytes)
    if (!this.#statusLine.complete || this.#statusLine.malformed) return
    const { status } = this.#statusLine
    const accepted = status >= 200 && status < 300
    if (!accepted) {
      this.#actions.record(
        new ProxyError('ERR_GATEWAY_REFUSED', `the gateway answered the CONNECT with ${status}`),
      )
    }
    if (this.#phase === 'answering') this.#phase = accepted ? 'open' : 'refused'
  }

  #sendUp(bytes: Buffer): void {
    this.#sentUpAt = this.#now
    this.#actions.sendUp(bytes)
  }

  #close(): void {
    this.#phase = 'closing'
    this.#since = this.#now
    this.#actions.closeGateway()
  }

  #expireHead(): void {
    if (this.#now - this.#since <= this.#deadlines.headTimeoutMs) return
    const seconds = this.#deadlines.headTimeoutMs / 1000
    this.#answer(
      new ProxyError('ERR_CONNECT_HEAD_TIMEOUT', `the request head was not complete in ${seconds} s`),
    )
  }

  #expireGateway(): boolean {
    if (this.#now - this.#since <= this.#deadlines.gatewayTimeoutMs) return false
    const seconds = this.#deadlines.gatewayTimeoutMs / 1000
    const what =
      this.#phase === 'dialing'
        ? 'the WebSocket upgrade was not done'
        : 'the gateway did not answer the CONNECT'
    this.#answer(new ProxyError('ERR_GATEWAY_TIMEOUT', `${what} in ${seconds} s`))
    return true
  }

  #keepAlive(): void {
    const { keepaliveMs, pingMs, pongTimeoutMs } = this.#deadlines
    if (this.#now - this.#aliveAt > pongTimeoutMs) {
      return this.gatewayFailed(
        new ProxyError('ERR_GATEWAY_DEAD', `no pong from the gateway for ${pongTimeoutMs / 1000} s`),
      )
    }
    if (this.#now - this.#sentUpAt >= keepaliveMs) {
      this.#sentUpAt = this.#now
      this.#actions.sendKeepalive()
    }
    if (this.#now - this.#pingedAt >= pingMs) {
      this.#pingedAt = this.#now
      this.#actions.sendPing()
    }
  }

  // Our own answer: only where the gateway has not spoken (rule 3).
  #answer(error: ProxyError): void {
    const dialled = this.#phase !== 'head'
    this.#phase = 'over'
    this.#actions.record(error)
    if (dialled) this.#actions.abortGateway()
    this.#actions.answer(error)
    this.#actions.release()
  }

  #break(error: ProxyError): void {
    this.#actions.record(error)
    this.#actions.abortGateway()
    this.#finish('resetClient')
  }

  #finish(end: 'endClient' | 'resetClient'): void {
    this.#phase = 'over'
    this.#early = []
    this.#earlyBytes = 0
    this.#actions[end]()
    this.#actions.release()
  }
}
