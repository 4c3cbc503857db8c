/**
 * The relay: a listener on loopback and the connections that it has accepted.
 *
 * Rule 1: it listens on 127.0.0.1 and nowhere else (invariant 7).
 * Rule 2: it never keeps the host program alive: everything it holds is unreferenced, but for `close()` under way.
 */

import * as net from 'node:net'
import { performance } from 'node:perf_hooks'
import type { SecureContext } from 'node:tls'
import { ProxyError } from '../errors.js'
import type { Limits } from '../limits.js'
import type { Log } from '../log.js'
import type { Token } from '../token.js'
import { Latch } from './drain.js'
import { ClientConnection, type EngineContext } from './engine-node.js'
import { GatewayDialer } from './gateway-dialer.js'
import { answerOrigin, Counters, type RelayStatus } from './status.js'

export type { RelayStatus } from './status.js'

export interface RelayOptions {
  /** 0: any free one */
  readonly port: number
  readonly baseUrl: URL
  /** trust for TLS to the gateway; needed where the base URL is https */
  readonly secureContext: SecureContext | undefined
  readonly sessionId: string
  readonly token: Token
  readonly limits: Limits
  readonly log: Log
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
 * ERR_LISTEN.
 */
export async function listenRelay(options: RelayOptions): Promise<Relay> {
  const { limits, log } = options
  const connections = new Set<ClientConnection>()
  const counters = new Counters(ENGINE)
  // Of connections, once the relay is closing.
  const emptied = new Latch()
  let closing: Promise<void> | undefined
  const status = () => counters.status((server.address() as net.AddressInfo | null)?.port ?? port)
  const context: EngineContext = {
    dialer: new GatewayDialer(options),
    sessionId: options.sessionId,
    token: options.token,
    limits,
    counters,
    log,
    answerOrigin: (request) => answerOrigin(request, status),
    onClosed: (connection) => {
      connections.delete(connection)
      if (closing && connections.size === 0) emptied.open()
    },
  }
  const server = net.createServer({ allowHalfOpen: true, noDelay: true }, (client) => {
    // Beyond the tunnels, some room for heads, refusals and the status document.
    if (connections.size >= limits.maxTunnels + SPARE_CONNECTIONS) client.resetAndDestroy()
    else connections.add(new ClientConnection(client, context))
  })
  await listen(server, options.port)
  server.unref()
  const { port } = server.address() as net.AddressInfo
  const ticker = setInterval(() => {
    const now = performance.now()
    for (const connection of connections) connection.tick(now)
  }, tickMs(limits)).unref()
  log.info('listening', { port })

  const drainOver = new Latch()
  async function shutDown(): Promise<void> {
    server.close()
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

function listen(server: net.Server, port: number): Promise<void> {
  return new Promise((resolve, reject) => {
    const refused = (cause: Error) => {
      const code = 'code' in cause ? String(cause.code) : cause.message
      const hint =
        code === 'EADDRINUSE' ? 'the port is taken: choose another, or 0 for any free one' : undefined
      const where = `127.0.0.1:${port}`
      reject(
        new ProxyError('ERR_LISTEN', `cannot listen on ${where}: ${code}`, { cause, ...(hint && { hint }) }),
      )
    }
    server.once('error', refused)
    server.listen({ host: '127.0.0.1', port, backlog: BACKLOG, exclusive: true }, () => {
      server.off('error', refused)
      resolve()
    })
  })
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

const ENGINE = 'node'
const DEFAULT_DRAIN_MS = 2_000
const FLUSH_MS = 1_000
const SPARE_CONNECTIONS = 256
const BACKLOG = 1024
