/**
 * Opens connections to the gateway.
 *
 * Rule 1: TLS is verified against the given context, whatever the environment says (invariant 8).
 * Rule 2: one context serves every connection (building one costs tens of milliseconds), and sessions resume.
 * Rule 3: no agent and no proxy from the environment: the relay must never dial itself.
 */
import * as net from 'node:net'
import * as tls from 'node:tls'
import { CONTENT_TYPE, WIRE_PATHS } from '../wire/index.js'
import type { DialProgress } from './upgrade-failure.js'

export interface DialerOptions {
  readonly baseUrl: URL
  /** needed for an https base URL */
  readonly secureContext: tls.SecureContext | undefined
}

export class GatewayDialer {
  /** ws: or wss: URL of the upgrade */
  readonly webSocketUrl: URL
  readonly #connectOptions: net.TcpNetConnectOpts
  readonly #tlsOptions: tls.ConnectionOptions | undefined
  #session: Buffer | undefined

  constructor({ baseUrl, secureContext }: DialerOptions) {
    const secure = baseUrl.protocol === 'https:'
    this.webSocketUrl = new URL(baseUrl)
    this.webSocketUrl.protocol = secure ? 'wss:' : 'ws:'
    this.webSocketUrl.pathname = baseUrl.pathname.replace(/\/$/, '') + WIRE_PATHS.webSocket
    const host = baseUrl.hostname.replace(/^\[|\]$/g, '')
    this.#connectOptions = {
      host,
      port: Number(baseUrl.port || (secure ? 443 : 80)),
      noDelay: true,
      // While reading is paused for a slow client no pong can be seen: the kernel's probes notice a dead peer then.
      keepAlive: true,
      keepAliveInitialDelay: KEEP_ALIVE_DELAY_MS,
    }
    if (!secure) return
    this.#tlsOptions = {
      ...this.#connectOptions,
      ...(secureContext && { secureContext }),
      ...(net.isIP(host) === 0 && { servername: host }),
      ALPNProtocols: ['http/1.1'],
      rejectUnauthorized: true,
    }
  }

  /** Headers of the upgrade, besides what every WebSocket upgrade has. */
  upgradeHeaders(token: string): Record<string, string> {
    return { Authorization: `Bearer ${token}`, 'Content-Type': CONTENT_TYPE }
  }

  /**
   * A socket under way, to be written to at once; tells how far it has come. With `onread` it reads into that memory, and
   * has no 'data'.
   */
  connect(onProgress: (progress: DialProgress) => void, onread?: net.OnReadOpts): net.Socket {
    const reading = onread && { onread }
    if (!this.#tlsOptions) {
      return net.connect({ ...this.#connectOptions, ...reading }, () => onProgress('secured'))
    }
    const session = this.#session && { session: this.#session }
    const socket = tls.connect({ ...this.#tlsOptions, ...reading, ...session })
    socket.once('connect', () => onProgress('handshaking'))
    socket.once('secureConnect', () => onProgress('secured'))
    socket.on('session', (session) => {
      this.#session = session
    })
    // A session that the gateway no longer likes must not spoil the next try.
    socket.once('error', () => {
      this.#session = undefined
    })
    return socket
  }
}

const KEEP_ALIVE_DELAY_MS = 30_000
