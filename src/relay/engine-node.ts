/**
 * The portable engine: `node:net` to the client, `ws` to the gateway. Carries out what a Tunnel decides.
 *
 * Rule 1: what a side has not taken is bounded: over its watermark the other side is paused until it is gone.
 * Rule 2: a socket is closed gently (FIN, then read on for a while) so that the peer can read what was sent; it is
 *         reset only where the tunnel broke.
 */

import type { Socket } from 'node:net'
import { performance } from 'node:perf_hooks'
import { ProxyError } from '../errors.js'
import type { Limits } from '../limits.js'
import { errorFields, type Log } from '../log.js'
import type { Token } from '../token.js'
import type { ConnectRequest, OriginRequest } from '../wire/request-head.js'
import { Tunnel, type TunnelActions } from '../wire/tunnel.js'
import { errorAnswer } from './answers.js'
import { tellFinFromReset } from './fin-or-reset.js'
import type { GatewayDialer } from './gateway-dialer.js'
import { type GatewayEvents, GatewaySocket } from './gateway-socket.js'
import type { Counters } from './status.js'

/** What all tunnels of a relay share. */
export interface EngineContext {
  readonly dialer: GatewayDialer
  readonly sessionId: string
  readonly token: Token
  readonly limits: Limits
  readonly counters: Counters
  readonly log: Log
  readonly answerOrigin: (request: OriginRequest) => Buffer
  /** called once, when both sockets are gone or going by themselves */
  readonly onClosed: (connection: ClientConnection) => void
}

/** One accepted connection, from its first byte to its end. */
export class ClientConnection implements TunnelActions, GatewayEvents {
  readonly #context: EngineContext
  readonly #client: Socket
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

  constructor(client: Socket, context: EngineContext) {
    this.#client = client
    this.#context = context
    this.#tunnel = new Tunnel(this, context.limits, performance.now())
    client.unref()
    client.on('data', (bytes: Buffer) => this.#clientBytes(bytes))
    client.on('end', () => tellFinFromReset(client, NOTHING, (isFin) => isFin && this.#tunnel.clientEnd()))
    client.on('drain', () => this.#clientDrained())
    // The reset itself is seen in 'close'; without a listener it would be thrown.
    client.on('error', (error) => context.log.debug('client-error', { message: error.message }))
    client.on('close', () => this.#clientClosed())
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
    this.#client.resetAndDestroy()
  }

  // ── what the tunnel asks for ──

  dial(_request: ConnectRequest): void {
    const { counters, limits, dialer, token } = this.#context
    if (counters.tunnelsOpen >= limits.maxTunnels) {
      const message = `${limits.maxTunnels} tunnels are open`
      return this.#tunnel.gatewayFailed(new ProxyError('ERR_TOO_MANY_TUNNELS', message))
    }
    this.#counted = true
    counters.tunnelsOpen++
    counters.tunnelsTotal++
    this.#gateway = new GatewaySocket(
      dialer,
      {
        token: token.reveal(),
        maxMessageBytes: limits.maxMessageBytes,
        closeTimeoutMs: limits.closeTimeoutMs,
      },
      this,
    )
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
    if (this.#client.writableLength > this.#context.limits.downHighBytes && this.#client.writableNeedDrain) {
      this.#gatewayPaused = this.#gatewayWasPaused = true
      this.#gateway!.pause()
    }
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
    this.#tunnel.clientBytes(bytes)
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
    const queued = waiting ? this.#tunnel.earlyBytes : (gateway?.queuedBytes ?? 0)
    const full = queued > this.#context.limits.upHighBytes && (waiting || gateway!.needsDrain)
    if (full === this.#clientPaused || this.#released) return
    this.#clientPaused = full
    if (full) this.#client.pause()
    else this.#client.resume()
  }

  // ── the end ──

  // A reset throws away what the kernel has not delivered yet, and nothing tells when it has: a reader that reads
  // gets a moment's grace, in which nothing else can happen any more.
  #resetWhenFlushed(): void {
    const client = this.#client
    if (client.destroyed) return
    const reset = () => setTimeout(() => client.resetAndDestroy(), RESET_GRACE_MS).unref()
    // The callback of an empty write comes when all that was written before it is with the kernel.
    client.write(NOTHING, reset)
  }

  // A peer that neither reads nor closes must not hold a socket for ever. Where all has gone to the kernel a plain
  // close leaves the delivery to it, after the FIN; a reset would throw away what the client has yet to read.
  #expireLinger(now: number): void {
    const queued = this.#client.writableLength
    if (queued !== this.#lastQueued) this.#stuckSince = now
    this.#lastQueued = queued
    const { closeTimeoutMs, pongTimeoutMs } = this.#context.limits
    if (queued === 0 && now - this.#stuckSince > closeTimeoutMs) this.#client.destroy()
    else if (now - this.#stuckSince > pongTimeoutMs) this.destroy()
  }
}

const RESET_GRACE_MS = 100
const NOTHING = Buffer.alloc(0)
