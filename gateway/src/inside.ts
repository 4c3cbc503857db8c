/**
 * The HTTP server inside the tunnels: one for all of them, which listens nowhere and is handed their TLS connections.
 *
 * Rule 1: every request has its record, those that never became one for the parser too.
 * Rule 2: an answer of the parser's own (400, 408, 431) goes out only where no response is under way: two at once would
 *         be read as one.
 */
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http'
import type { Duplex } from 'node:stream'
import type { TLSSocket } from 'node:tls'
import { refusalBytes } from './answers.js'
import type { Core } from './core.js'
import { Exchange, recordRefused } from './exchange.js'
import { errorText } from './log.js'
import type { ReasonCode } from './reasons.js'
import type { Tunnel } from './tunnel.js'

export class Inside {
  readonly #core: Core
  readonly #server: Server
  readonly #tunnels = new WeakMap<object, Tunnel>()

  constructor(core: Core) {
    this.#core = core
    const { limits } = core
    const server = createServer({
      maxHeaderSize: limits.maxHeadBytes,
      keepAliveTimeout: limits.idleMs,
      headersTimeout: limits.headMs,
      // A body may take as long as it takes; that it moves is seen to elsewhere (upstreamIdleMs).
      requestTimeout: 0,
      connectionsCheckingInterval: CHECK_EVERY_MS,
      // A missing Host is refused with a reason and a record.
      requireHostHeader: false,
      insecureHTTPParser: false,
    })
    // By default Node drops the headers beyond the 2000th, silently; their bytes are limited already.
    server.maxHeadersCount = 0
    server.on('request', (request, response) => this.#begin(request, response))
    server.on('checkContinue', (request, response) => this.#begin(request, response))
    server.on('checkExpectation', (request, response) => this.#begin(request, response))
    server.on('connect', (request, socket) => this.#refuseConnect(request, socket))
    server.on('clientError', (error, socket) => this.#refuseUnparsed(error, socket))
    // An idle connection is ended, not cut: its end is a clean one.
    server.on('timeout', (socket) => socket.end())
    // Node starts to watch headersTimeout when a server listens, which this one never does.
    server.emit('listening')
    this.#server = server
  }

  /** Serves the requests of a tunnel whose TLS is established. */
  serve(tunnel: Tunnel, tls: TLSSocket): void {
    this.#tunnels.set(tls, tunnel)
    this.#server.emit('connection', tls)
  }

  /** Stops the watch over head deadlines. The tunnels end by themselves. */
  close(): void {
    this.#server.close(() => undefined)
  }

  #begin(request: IncomingMessage, response: ServerResponse): void {
    new Exchange(this.#core, this.#tunnels.get(request.socket)!, request, response).run()
  }

  #refuseConnect(request: IncomingMessage, socket: Duplex): void {
    const tunnel = this.#tunnels.get(socket)!
    const facts = { method: 'CONNECT' }
    const recordId = recordRefused(this.#core, tunnel, 'method-unsupported', facts)
    request.resume()
    socket.resume()
    socket.end(refusalBytes('method-unsupported', { recordId }))
  }

  #refuseUnparsed(error: Error, socket: Duplex): void {
    const tunnel = this.#tunnels.get(socket)
    const detail = errorText(error)
    const reason = PARSE_REASONS.get(detail) ?? (detail.startsWith('HPE_') ? 'request-malformed' : undefined)
    // The connection's own error: the tunnel's end tells about it.
    if (tunnel === undefined || reason === undefined) {
      socket.destroy()
      return
    }
    for (const exchange of tunnel.exchanges) if (exchange.bodyBroke(reason, detail)) return
    const answerable = socket.writable && tunnel.exchanges.size === 0
    const recordId = recordRefused(this.#core, tunnel, reason, { method: null, detail }, answerable)
    if (answerable) socket.end(refusalBytes(reason, { recordId, detail }))
    else tunnel.fail(reason)
  }
}

const CHECK_EVERY_MS = 1000
const PARSE_REASONS = new Map<string, ReasonCode>([
  ['HPE_HEADER_OVERFLOW', 'request-too-large'],
  ['ERR_HTTP_REQUEST_TIMEOUT', 'request-timeout'],
])
