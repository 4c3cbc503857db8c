/**
 * The relay: a listener on loopback and the connections that it has accepted.
 *
 * Rule 1: it listens on 127.0.0.1 and nowhere else (invariant 7).
 * Rule 2: it never keeps the host program alive: everything it holds is unreferenced, but for `close()` under way.
 */
import { performance } from 'node:perf_hooks'
import type { SecureContext } from 'node:tls'
import { codeOf, ProxyError } from '../errors.js'
import type { Limits } from '../limits.js'
import type { Log } from '../log.js'
import { reasonOf } from '../platform/index.js'
import type { Token } from '../token.js'
import { chooseEngine, type EngineChoice } from './choose-engine.js'
import { Connection, type ConnectionContext } from './connection.js'
import { Counters } from './counters.js'
import { DEFAULT_DRAIN_MS, FLUSH_MS, Latch } from './drain.js'
import type { ClientSocket, Engine, GatewayEvents, Listener } from './engine.js'
import { GatewayDialer } from './gateway-dialer.js'
import { answerOrigin, type RelayIdentity, type RelayStatus, statusOf } from './status.js'
import { WarmPool } from './warm-pool.js'

export type { RelayStatus } from './status.js'

export interface RelayOptions {
  /** which engine carries the bytes (default: auto) */
  readonly engine?: EngineChoice
  /** 0: any free one */
  readonly port: number
  readonly baseUrl: URL
  /** trust for TLS to the gateway; needed where the base URL is https */
  readonly secureContext: SecureContext | undefined
  readonly sessionId: string
  readonly token: Pick<Token, 'reveal'>
  readonly limits: Limits
  /** WebSockets to hold upgraded in advance (default: 0) */
  readonly prewarm?: number
  readonly log: Log
  /** given where this thread is the relay's own: of COUNTERS_BYTES, for the host's thread to read */
  readonly counterMemory?: SharedArrayBuffer
}

export interface Relay {
  readonly port: number
  status(): RelayStatus
  /**
   * Stops accepting, lets open tunnels go on for `drainMs` (default: 2000), then resets what is left. Resolves when
   * no socket is left; never rejects. Called again, it can bring the end of the drain forward.
   */
  close(options?: { readonly drainMs?: number }): Promise<void>
}

/**
 * Listens on 127.0.0.1. Does not keep the process alive: a program that has nothing else to do ends. Rejects with
 * ERR_LISTEN, ERR_ENGINE.
 */
export async function listenRelay(options: RelayOptions): Promise<Relay> {
  const { limits, log } = options
  const engine = chooseEngine(options.engine ?? 'auto', new GatewayDialer(options), options)
  const connections = new Set<Connection>()
  const counters = new Counters(options.counterMemory)
  // Of connections, once the relay is closing.
  const emptied = new Latch()
  let closing: Promise<void> | undefined
  const { token } = options
  const { maxMessageBytes, closeTimeoutMs, upHighBytes: highBytes } = limits
  const dial = (events: GatewayEvents) =>
    engine.dial({ token: token.reveal(), maxMessageBytes, closeTimeoutMs, highBytes }, events)
  const status = () => statusOf(identity, counters, options.counterMemory ? 'own' : 'host')
  const context: ConnectionContext = {
    dial,
    takeWarm: () => pool.take(),
    sessionId: options.sessionId,
    token,
    limits,
    counters,
    log,
    answerOrigin: (request) => answerOrigin(request, status),
    onClosed: (connection) => {
      connections.delete(connection)
      if (closing && connections.size === 0) emptied.open()
    },
  }
  const listener = await listen(engine, options.port, (client) => {
    // Beyond the tunnels, some room for heads, refusals and the status document.
    if (connections.size >= limits.maxTunnels + SPARE_CONNECTIONS) client.reset()
    else connections.add(new Connection(client, context))
  })
  const { port } = listener
  const identity: RelayIdentity = { engine: engine.name, since: new Date().toISOString(), port }
  // Not before: a relay that cannot listen must not dial, either.
  const pool = new WarmPool({
    size: options.prewarm ?? 0,
    ttlMs: limits.prewarmTtlMs,
    pingMs: limits.pingMs,
    pongTimeoutMs: limits.pongTimeoutMs,
    dial,
    log,
    now: () => performance.now(),
  })
  const ticker = setInterval(() => {
    const now = performance.now()
    for (const connection of connections) connection.tick(now)
    pool.tick()
  }, tickMs(limits)).unref()
  log.info('listening', { port })

  const drainOver = new Latch()
  async function shutDown(): Promise<void> {
    listener.close()
    pool.close()
    for (const connection of connections) connection.drain()
    if (connections.size === 0) emptied.open()
    await Promise.race([emptied.opened, drainOver.opened])
    for (const connection of connections) connection.shutdown()
    const flushed = new Latch()
    flushed.openAfter(FLUSH_MS, emptied.opened)
    await Promise.race([emptied.opened, flushed.opened])
    for (const connection of connections) connection.destroy()
    clearInterval(ticker)
  }
  return {
    port,
    status,
    close: ({ drainMs = DEFAULT_DRAIN_MS } = {}) => {
      closing ??= shutDown()
      drainOver.openAfter(drainMs, closing)
      return closing
    },
  }
}

async function listen(
  engine: Engine,
  port: number,
  onClient: (client: ClientSocket) => void,
): Promise<Listener> {
  try {
    return await engine.listen(port, onClient)
  } catch (cause) {
    const isTaken = codeOf(cause) === 'EADDRINUSE'
    const hint = isTaken ? 'the port is taken: choose another, or 0 for any free one' : undefined
    const where = `127.0.0.1:${port}`
    throw new ProxyError('ERR_LISTEN', `cannot listen on ${where}: ${reasonOf(cause)}`, {
      cause,
      ...(hint && { hint }),
    })
  }
}

// Deadlines are seconds long; where tests make them short, the clock ticks faster.
function tickMs(limits: Limits): number {
  const shortest = Math.min(
    limits.headTimeoutMs,
    limits.gatewayTimeoutMs,
    limits.keepaliveMs,
    limits.pingMs,
    limits.pongTimeoutMs,
    limits.closeTimeoutMs,
  )
  return Math.max(10, Math.min(1000, shortest / 4))
}

const SPARE_CONNECTIONS = 256
