/**
 * WebSockets upgraded in advance, so that a CONNECT costs one round trip in place of four.
 *
 * Rule 1: each is used once, or not at all. None sends a chunk before its CONNECT; pings keep it alive and show that it is.
 * Rule 2: it is filled off the critical path: in a later turn than the one that took from it.
 * Rule 3: a gateway that does not keep them (STRIKES lost in a row, none used or grown old between) is left alone for a
 *         while: then every CONNECT dials, as without a pool.
 */
import { ProxyError } from '../errors.js'
import { errorFields, type Log } from '../log.js'
import type { GatewayEvents, GatewaySocket } from './engine.js'

export interface WarmPoolOptions {
  /** how many to hold; 0 to 64 */
  readonly size: number
  /** how long one is held at most, in ms */
  readonly ttlMs: number
  /** between pings, in ms */
  readonly pingMs: number
  /** without a pong for so long one is dead, in ms; also the deadline of its upgrade */
  readonly pongTimeoutMs: number
  readonly dial: (events: GatewayEvents) => GatewaySocket
  readonly log: Log
  /** monotonic, in ms */
  readonly now: () => number
}

export class WarmPool {
  readonly #options: WarmPoolOptions
  // Oldest first.
  #held: WarmSocket[] = []
  #strikes = 0
  #pausedUntil = 0
  #willFill = false
  #isClosed = false

  constructor(options: WarmPoolOptions) {
    this.#options = options
    this.#fillSoon()
  }

  /** One that is upgraded and was alive a moment ago; the caller attaches itself to it, and it counts as open. */
  take(): GatewaySocket | undefined {
    const warm = this.#held.find((each) => each.isReady)
    if (warm === undefined) return undefined
    this.#drop(warm)
    this.#strikes = 0
    this.#fillSoon()
    return warm.socket
  }

  /** Time passes: pings, and lets go of what is old or dead. */
  tick(): void {
    const now = this.#options.now()
    for (const warm of [...this.#held]) {
      if (now - warm.aliveAt > this.#options.pongTimeoutMs) {
        this.#lost(warm, new ProxyError('ERR_GATEWAY_DEAD', 'no pong from the gateway'))
        warm.socket.abort()
      } else if (now - warm.since > this.#options.ttlMs) {
        this.#strikes = 0
        this.#drop(warm)
        warm.socket.close()
      } else if (warm.isReady && now - warm.pingedAt >= this.#options.pingMs) {
        warm.pingedAt = now
        warm.socket.ping()
      }
    }
    this.#fillSoon()
  }

  close(): void {
    this.#isClosed = true
    for (const { socket } of this.#held) socket.abort()
    this.#held = []
  }

  #fillSoon(): void {
    if (this.#willFill || this.#isClosed || this.#held.length >= this.#options.size) return
    this.#willFill = true
    setImmediate(() => {
      this.#willFill = false
      this.#fill()
    }).unref()
  }

  #fill(): void {
    const { now, size } = this.#options
    if (this.#isClosed || now() < this.#pausedUntil) return
    // After a loss one at a time, until the gateway has shown that it keeps them.
    const wanted = this.#strikes > 0 ? Math.min(1, size) : size
    while (this.#held.length < wanted) this.#held.push(this.#warm())
  }

  #warm(): WarmSocket {
    const since = this.#options.now()
    const warm: WarmSocket = { since, aliveAt: since, pingedAt: since, isReady: false, socket: undefined! }
    const lost = (error: ProxyError) => this.#lost(warm, error)
    warm.socket = this.#options.dial({
      streams: false,
      open: () => {
        warm.isReady = true
        warm.aliveAt = warm.pingedAt = this.#options.now()
      },
      pong: () => {
        warm.aliveAt = this.#options.now()
      },
      bytes: () => {
        lost(new ProxyError('ERR_GATEWAY_PROTOCOL', 'the gateway spoke before a CONNECT'))
        warm.socket.abort()
      },
      end: () => lost(new ProxyError('ERR_GATEWAY_CLOSED_EARLY', 'the gateway closed an idle WebSocket')),
      failed: lost,
      passed: () => undefined,
      drained: () => undefined,
    })
    return warm
  }

  #lost(warm: WarmSocket, error: ProxyError): void {
    if (!this.#drop(warm)) return
    const { log, now } = this.#options
    log.debug('prewarmed-lost', errorFields(error))
    if (++this.#strikes < STRIKES) return
    this.#strikes = 0
    this.#pausedUntil = now() + PAUSE_MS
    log.warn('prewarm-paused', { ...errorFields(error), seconds: PAUSE_MS / 1000 })
  }

  #drop(warm: WarmSocket): boolean {
    const at = this.#held.indexOf(warm)
    if (at >= 0) this.#held.splice(at, 1)
    return at >= 0
  }
}

interface WarmSocket {
  socket: GatewaySocket
  readonly since: number
  aliveAt: number
  pingedAt: number
  isReady: boolean
}

const STRIKES = 3
const PAUSE_MS = 600_000
