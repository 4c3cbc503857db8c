/**
 * One accepted connection, whatever engine carries its bytes: carries out what a Tunnel decides.
 *
 * Rule 1: what a side has not taken is bounded: over its watermark the other side is paused until it is gone.
 * Rule 2: a socket is closed gently (FIN, then read on for a while) so that the peer can read what was sent; it is
 *         reset only where the tunnel broke.
 */
import { performance } from 'node:perf_hooks'
import { ProxyError } from '../errors.js'
import type { Limits } from '../limits.js'
import { errorFields, type Log } from '../log.js'
import type { Token } from '../token.js'
import type { ConnectRequest, OriginRequest } from '../wire/request-head.js'
import { Tunnel, type TunnelActions } from '../wire/tunnel.js'
import { errorAnswer } from './answers.js'
import type { Counters } from './counters.js'
import type { ClientSocket, GatewayEvents, GatewaySocket } from './engine.js'

/** What all connections of a relay share. */
export interface ConnectionContext {
  /** starts an upgrade */
  readonly dial: (events: GatewayEvents) => GatewaySocket
  /** one that is upgraded already, if there is one */
  readonly takeWarm: () => GatewaySocket | undefined
  readonly sessionId: string
  readonly token: Pick<Token, 'reveal'>
  readonly limits: Limits
  readonly counters: Counters
  readonly log: Log
  readonly answerOrigin: (request: OriginRequest) => Buffer
  /** called once, when both sockets are gone or going by themselves */
  readonly onClosed: (connection: Connection) => void
}

/** One accepted connection, from its first byte to its end. */
export class Connection implements TunnelActions, GatewayEvents {
  readonly #context: ConnectionContext
  readonly #client: ClientSocket
  readonly #tunnel: Tunnel
  #gateway: GatewaySocket | undefined
  #counted = false
  #clientPaused = false
  #gatewayPaused = false
  #gatewayWasPaused = false
  #released = false
  // What the client had not taken at the last tick, and since when that has not become less.
  #lastQueued = 0
  #stuckSince = 0

  constructor(client: ClientSocket, context: ConnectionContext) {
    this.#client = client
    this.#context = context
    this.#tunnel = new Tunnel(this, context.limits, performance.now())
    client.start({
      bytes: (bytes) => this.#clientBytes(bytes),
      end: () => this.#tunnel.clientEnd(),
      drained: () => this.#clientDrained(),
      closed: () => this.#clientClosed(),
    })
  }

  tick(now: number): void {
    this.#tunnel.tick(now, this.#gatewayWasPaused, this.#gateway?.queuedBytes ?? 0)
    this.#gatewayWasPaused = this.#gatewayPaused
    if (this.#released) this.#expireLinger(now)
  }

  /** The relay drains: what has not begun will not begin. */
  drain(): void {
    if (this.#tunnel.phase === 'head') this.#tunnel.shutdown()
  }

  /** Ends the tunnel at once, as a failure of ours. */
  shutdown(): void {
    this.#tunnel.shutdown()
  }

  /** Drops both sockets. */
  destroy(): void {
    this.#gateway?.abort()
    this.#client.reset()
  }

  // ── what the tunnel asks for ──

  dial(_request: ConnectRequest): void {
    const { counters, limits, dial, takeWarm } = this.#context
    if (counters.tunnelsOpen >= limits.maxTunnels) {
      const message = `${limits.maxTunnels} tunnels are open`
      return this.#tunnel.gatewayFailed(new ProxyError('ERR_TOO_MANY_TUNNELS', message))
    }
    this.#counted = true
    counters.tunnelsOpen++
    counters.tunnelsTotal++
    const warm = takeWarm()
    this.#gateway = warm ?? dial(this)
    this.#gateway.attach(this.#client, this)
    if (warm) this.open()
  }

  sendConnect({ authority }: ConnectRequest): void {
    const { sessionId, token } = this.#context
    const credentials = Buffer.from(`${sessionId}:${token.reveal()}`).toString('base64')
    this.#gateway!.send(
      Buffer.from(`CONNECT ${authority} HTTP/1.1\r\nProxy-Authorization: Basic ${credentials}\r\n\r\n`),
    )
  }

  sendUp(bytes: Buffer): void {
    this.#context.counters.bytesUp += bytes.length
    this.#gateway!.send(bytes)
  }

  writeDown(bytes: Buffer): void {
    this.#context.counters.bytesDown += bytes.length
    this.#client.write(bytes)
    this.#balanceGateway()
  }

  answer(error: ProxyError): void {
    this.#client.end(errorAnswer(error))
  }

  serve(request: OriginRequest): void {
    this.#client.end(this.#context.answerOrigin(request))
  }

  endClient(): void {
    this.#client.end()
  }

  resetClient(): void {
    this.#resetWhenFlushed()
  }

  closeGateway(): void {
    this.#gateway?.close()
  }

  abortGateway(): void {
    this.#gateway?.abort()
  }

  sendKeepalive(): void {
    this.#gateway!.sendKeepalive()
  }

  sendPing(): void {
    this.#gateway!.ping()
  }

  record(error: ProxyError): void {
    this.#context.counters.fail(error.code)
    this.#context.log.info('tunnel-failed', errorFields(error))
  }

  release(): void {
    this.#released = true
    this.#stuckSince = performance.now()
    // Read on and let it drop, so that what was written is not lost to a reset for unread bytes.
    this.#client.resume()
  }

  // ── what the gateway does ──

  open(): void {
    this.#tunnel.gatewayOpen()
    this.#balanceClient()
  }

  bytes(payload: Buffer): void {
    this.#tunnel.gatewayBytes(payload)
  }

  get streams(): boolean {
    return this.#tunnel.streams
  }

  passed(bytes: number): void {
    this.#context.counters.bytesDown += bytes
    this.#tunnel.gatewayPassed()
    this.#balanceGateway()
  }

  pong(): void {
    this.#tunnel.gatewayPong()
  }

  drained(): void {
    this.#balanceClient()
  }

  end(): void {
    this.#tunnel.gatewayEnd()
  }

  failed(error: ProxyError): void {
    this.#tunnel.gatewayFailed(error)
  }

  // ── what the client does ──

  #clientBytes(bytes: Buffer): void {
    // They are on loan: what the tunnel keeps for a while is a copy.
    this.#tunnel.clientBytes(this.#tunnel.keeps ? Buffer.from(bytes) : bytes)
    this.#balanceClient()
  }

  #clientDrained(): void {
    if (!this.#gatewayPaused) return
    this.#gatewayPaused = false
    this.#gateway!.resume()
  }

  #clientClosed(): void {
    this.#tunnel.clientBroken()
    this.#gateway?.abort()
    if (this.#counted) this.#context.counters.tunnelsOpen--
    this.#counted = false
    this.#context.onClosed(this)
  }

  // Pauses the client while too much waits for the gateway, be it for the upgrade or for its socket.
  #balanceClient(): void {
    const gateway = this.#gateway
    const waiting = this.#tunnel.phase === 'dialing'
    const full = waiting
      ? this.#tunnel.earlyBytes > this.#context.limits.upHighBytes
      : (gateway?.full ?? false)
    if (full === this.#clientPaused || this.#released) return
    this.#clientPaused = full
    if (full) this.#client.pause()
    else this.#client.resume()
  }

  // Pauses the gateway while the client has too much to take.
  #balanceGateway(): void {
    const client = this.#client
    if (client.queuedBytes <= this.#context.limits.downHighBytes || !client.needsDrain) return
    this.#gatewayPaused = this.#gatewayWasPaused = true
    this.#gateway!.pause()
  }

  // ── the end ──

  // A reset throws away what the kernel has not delivered yet, and nothing tells when it has: a reader that reads
  // gets a moment's grace, in which nothing else can happen any more.
  #resetWhenFlushed(): void {
    this.#client.flushed(() => setTimeout(() => this.#client.reset(), RESET_GRACE_MS).unref())
  }

  // A peer that neither reads nor closes must not hold a socket for ever. Where all has gone to the kernel a plain
  // close leaves the delivery to it, after the FIN; a reset would throw away what the client has yet to read.
  #expireLinger(now: number): void {
    const queued = this.#client.queuedBytes
    if (queued !== this.#lastQueued) this.#stuckSince = now
    this.#lastQueued = queued
    const { closeTimeoutMs, pongTimeoutMs } = this.#context.limits
    if (queued === 0 && now - this.#stuckSince > closeTimeoutMs) this.#client.destroy()
    else if (now - this.#stuckSince > pongTimeoutMs) this.destroy()
  }
}

const RESET_GRACE_MS = 100
