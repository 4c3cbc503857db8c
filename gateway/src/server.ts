/**
 * The gateway's own listener: the CA certificate for whoever asks, a WebSocket for relays, and nothing else.
 *
 * Rule 1: nothing is upgraded before its bearer token is known.
 * Rule 2: answers are refusals in the words of reasons.ts; nothing of a request is echoed.
 */
import {
  createServer as createHttpServer,
  type IncomingMessage,
  type Server,
  type ServerOptions,
  type ServerResponse,
} from 'node:http'
import { createServer as createHttpsServer } from 'node:https'
import type { AddressInfo } from 'node:net'
import type { Duplex } from 'node:stream'
import { CONTENT_TYPE, WIRE_PATHS } from 'upstreamproxy/wire'
import { type WebSocket, WebSocketServer } from 'ws'
import { refusal, refusalBytes } from './answers.js'
import type { Ca } from './ca.js'
import type { Config } from './config.js'
import type { Core } from './core.js'
import { Inside } from './inside.js'
import type { ReasonCode } from './reasons.js'
import type { Session } from './sessions.js'
import { Tunnel } from './tunnel.js'

/** Takes connections once `listen` has resolved. */
export class GatewayServer {
  readonly #core: Core
  readonly #ca: Ca
  readonly #inside: Inside
  readonly #server: Server
  readonly #webSockets: WebSocketServer
  readonly #tunnels = new Set<Tunnel>()

  constructor(core: Core, ca: Ca, tls: Config['tls']) {
    this.#core = core
    this.#ca = ca
    this.#inside = new Inside(core)
    // An option of ws that its types lack.
    const closing = { closeTimeout: core.limits.finishMs }
    this.#webSockets = new WebSocketServer({
      noServer: true,
      maxPayload: core.limits.maxMessageBytes,
      // Payload is ciphertext: compressing it costs and gains nothing.
      perMessageDeflate: false,
      ...closing,
    })
    const options: ServerOptions = {
      headersTimeout: core.limits.headMs,
      requestTimeout: REQUEST_MS,
      connectionsCheckingInterval: 1000,
      keepAliveTimeout: 5000,
      insecureHTTPParser: false,
    }
    this.#server = tls
      ? createHttpsServer({
          ...options,
          cert: tls.cert,
          key: tls.key.reveal(),
          minVersion: 'TLSv1.2',
          handshakeTimeout: core.limits.handshakeMs,
        })
      : createHttpServer(options)
    this.#server.on('request', (request, response) => this.#answer(request, response))
    this.#server.on('upgrade', (request, socket, head) => this.#upgrade(request, socket, head))
  }

  /** Listens; resolves to the port, and rejects with what the system says. */
  listen(host: string, port: number): Promise<AddressInfo> {
    return new Promise((resolve, reject) => {
      this.#server.once('error', reject)
      this.#server.listen({ host, port }, () => {
        this.#server.off('error', reject)
        this.#server.on('error', (error) => this.#core.log.error('listener', { cause: error.message }))
        resolve(this.#server.address() as AddressInfo)
      })
    })
  }

  /** Stops listening, lets requests under way finish for so long, then breaks what is left. All records are written. */
  async close(drainMs: number): Promise<void> {
    this.#core.draining = true
    const listenerClosed = new Promise<void>((resolve) => this.#server.close(() => resolve()))
    const deadline = setTimeout(() => {
      for (const tunnel of this.#tunnels) tunnel.fail('drain-deadline')
      for (const webSocket of this.#webSockets.clients) webSocket.terminate()
      this.#server.closeAllConnections()
    }, drainMs)
    for (const tunnel of this.#tunnels) tunnel.drain()
    await Promise.all([listenerClosed, ...[...this.#tunnels].map(({ ended }) => ended)])
    clearTimeout(deadline)
    this.#inside.close()
  }

  #answer(request: IncomingMessage, response: ServerResponse): void {
    const path = request.url?.split('?', 1)[0]
    if (path === WIRE_PATHS.webSocket) return this.#refuse(response, 'upgrade-required')
    if (path !== WIRE_PATHS.caCert) return this.#refuse(response, 'not-found')
    if (request.method !== 'GET' && request.method !== 'HEAD') return this.#refuse(response, 'method-refused')
    request.resume()
    response.writeHead(200, {
      'Content-Type': 'application/x-pem-file',
      'Content-Length': Buffer.byteLength(this.#ca.certPem),
      'Cache-Control': 'no-store',
    })
    response.end(this.#ca.certPem)
  }

  #refuse(response: ServerResponse, code: ReasonCode): void {
    const { status, statusText, headers, body } = refusal(code)
    response.shouldKeepAlive = false
    response.writeHead(status, statusText, [...headers])
    response.end(body)
  }

  #upgrade(request: IncomingMessage, socket: Duplex, head: Buffer): void {
    // Until `ws` takes the socket over, a reset must not end the process.
    const ignoreReset = () => socket.destroy()
    socket.on('error', ignoreReset)
    const admitted = this.#admitUpgrade(request)
    if (typeof admitted === 'string') {
      this.#core.log.warn('upgrade-refused', { reason: admitted, address: request.socket.remoteAddress })
      socket.resume().end(refusalBytes(admitted))
      // No server watches this connection any more, and its client may never end it.
      const deadline = setTimeout(() => socket.destroy(), this.#core.limits.closeMs)
      socket.once('close', () => clearTimeout(deadline))
      return
    }
    socket.off('error', ignoreReset)
    request.socket.setKeepAlive(true, TCP_KEEPALIVE_MS)
    this.#webSockets.handleUpgrade(request, socket, head, (webSocket) => this.#serve(webSocket, admitted))
  }

  #admitUpgrade(request: IncomingMessage): Session | ReasonCode {
    const { headers, url, method } = request
    if (url?.split('?', 1)[0] !== WIRE_PATHS.webSocket) return 'not-found'
    if (method !== 'GET') return 'method-refused'
    const session = this.#core.sessions.byBearer(headers.authorization)
    if (session === undefined) return 'unauthorized'
    if (!isMediaType(headers['content-type'])) return 'content-type'
    if (this.#core.draining) return 'draining'
    const { maxTunnels, maxTunnelsPerSession } = this.#core.limits
    const ofSession = [...this.#tunnels].filter((tunnel) => tunnel.session === session).length
    if (this.#webSockets.clients.size >= maxTunnels || ofSession >= maxTunnelsPerSession)
      return 'too-many-tunnels'
    return session
  }

  #serve(webSocket: WebSocket, session: Session): void {
    const tunnel = new Tunnel(this.#core, this.#inside, webSocket, session)
    this.#tunnels.add(tunnel)
    tunnel.stream.once('close', () => this.#tunnels.delete(tunnel))
    void tunnel.run()
  }
}

function isMediaType(header = ''): boolean {
  return header.split(';', 1)[0]!.trim().toLowerCase() === CONTENT_TYPE
}

const REQUEST_MS = 30_000
// Notices a relay whose machine is gone, also while reading is paused.
const TCP_KEEPALIVE_MS = 60_000
