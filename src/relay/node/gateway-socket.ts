/**
 * One WebSocket to the gateway. `ws` does the upgrade, reads frames and keeps the protocol; the data frames that go
 * up are built here in one buffer each (client-frame.ts) and written to the same socket, between whole frames.
 */
import type { IncomingMessage } from 'node:http'
import type { Socket } from 'node:net'
import { TLSSocket } from 'node:tls'
import type WebSocket from 'ws'
import { asProxyError, ProxyError } from '../../errors.js'
import { WebSocket as WebSocketClient } from '../../platform/websocket-library.js'
import { decodeChunk, MAX_CHUNK_BYTES } from '../../wire/chunk.js'
import { encodeChunkFrame } from '../../wire/client-frame.js'
import { FrameBoundary } from '../../wire/frame-boundary.js'
import type { ClientSocket, GatewayEvents, GatewayOptions, GatewaySocket } from '../engine.js'
import { tellFinFromReset } from '../fin-or-reset.js'
import type { GatewayDialer } from '../gateway-dialer.js'
import { maskingKey } from '../masking-key.js'
import { type DialProgress, upgradeFailure } from '../upgrade-failure.js'

// The published types do not have this option of ws 8.19 and later yet.
type ClientOptions = WebSocket.ClientOptions & { readonly closeTimeout: number }

export class NodeGatewaySocket implements GatewaySocket {
  #events: GatewayEvents
  readonly #options: GatewayOptions
  readonly #webSocket: WebSocket
  readonly #boundary = new FrameBoundary()
  #socket!: Socket
  #progress: DialProgress = 'connecting'
  #opened = false
  #finBetweenMessages = false
  #over = false
  #closeTimer: NodeJS.Timeout | undefined

  constructor(dialer: GatewayDialer, options: GatewayOptions, events: GatewayEvents) {
    this.#events = events
    this.#options = options
    const webSocketOptions: ClientOptions = {
      headers: dialer.upgradeHeaders(options.token),
      createConnection: () => {
        this.#socket = dialer.connect((progress) => {
          this.#progress = progress
        })
        this.#socket.unref()
        return this.#socket
      },
      perMessageDeflate: false,
      maxPayload: options.maxMessageBytes,
      // The tunnel has a deadline of its own for a Close that stays unanswered, which stands still while paused.
      closeTimeout: NEVER_MS,
    }
    this.#webSocket = new WebSocketClient(dialer.webSocketUrl, webSocketOptions)
    this.#listen()
  }

  attach(_client: ClientSocket, events: GatewayEvents): void {
    this.#events = events
  }

  get queuedBytes(): number {
    return this.#socket.writableLength
  }

  get full(): boolean {
    return this.#socket.writableLength > this.#options.highBytes && this.#socket.writableNeedDrain
  }

  send(bytes: Buffer): void {
    if (!this.#writable) return
    for (let at = 0; at < bytes.length; at += MAX_CHUNK_BYTES) {
      this.#socket.write(encodeChunkFrame(bytes.subarray(at, at + MAX_CHUNK_BYTES), maskingKey()))
    }
  }

  sendKeepalive(): void {
    if (this.#writable) this.#socket.write(encodeChunkFrame(EMPTY, maskingKey()))
  }

  ping(): void {
    if (this.#writable) this.#webSocket.ping()
  }

  pause(): void {
    this.#webSocket.pause()
  }

  resume(): void {
    this.#webSocket.resume()
  }

  close(): void {
    if (this.#opened) this.#webSocket.close(1000)
    else this.abort()
  }

  abort(): void {
    this.#over = true
    clearTimeout(this.#closeTimer)
    this.#webSocket.terminate()
  }

  get #writable(): boolean {
    return this.#opened && this.#webSocket.readyState === WebSocketClient.OPEN
  }

  #listen(): void {
    this.#webSocket.on('open', () => this.#open())
    this.#webSocket.on('message', (data, isBinary) => this.#message(data as Buffer, isBinary))
    this.#webSocket.on('pong', () => this.#over || this.#events.pong())
    this.#webSocket.on('close', (code) => this.#closed(code))
    this.#webSocket.on('error', (error) => {
      this.#fail(this.#opened ? brokenConnection(error) : upgradeFailure(error, this.#progress))
    })
    this.#webSocket.on('unexpected-response', (_request, response: IncomingMessage) => {
      this.#fail(upgradeFailure(response.statusCode ?? 0, this.#progress))
    })
  }

  #open(): void {
    if (this.#over) return
    this.#opened = true
    this.#socket.on('drain', () => this.#over || this.#events.drained())
    // Behind the library's own listener: what this piece held has been read when it comes here.
    this.#socket.on('data', (bytes: Buffer) => {
      this.#boundary.push(bytes)
      if (this.#webSocket.readyState === WebSocketClient.CLOSING) this.#awaitTcpEnd()
    })
    // Before the library's own, which ends the writing side.
    this.#socket.prependListener('end', () => this.#judgeFin())
    this.#events.open()
  }

  #judgeFin(): void {
    if (!this.#boundary.betweenMessages) return
    // TLS swallows a write of nothing; a keepalive is what may always be sent, but after a Close.
    const isTls = this.#socket instanceof TLSSocket
    const probe = isTls && this.#writable ? encodeChunkFrame(EMPTY, maskingKey()) : EMPTY
    tellFinFromReset(this.#socket, probe, (isFin) => {
      this.#finBetweenMessages = isFin
    })
  }

  #message(data: Buffer, isBinary: boolean): void {
    if (this.#over) return
    if (!isBinary) {
      return this.#fail(new ProxyError('ERR_GATEWAY_PROTOCOL', 'the gateway sent a text message'))
    }
    try {
      const payload = decodeChunk(data, this.#options.maxMessageBytes)
      if (payload.length > 0) this.#events.bytes(payload)
    } catch (error) {
      this.#fail(asProxyError(error))
    }
  }

  // A gateway that has said Close has nothing more to say; one that keeps its TCP open all the same is not waited for.
  #awaitTcpEnd(): void {
    if (this.#closeTimer !== undefined || this.#over) return
    this.#closeTimer = setTimeout(() => this.#webSocket.terminate(), this.#options.closeTimeoutMs).unref()
  }

  #closed(code: number): void {
    clearTimeout(this.#closeTimer)
    if (this.#over) return
    if (code === 1000 || code === 1005 || (code === 1006 && this.#finBetweenMessages)) {
      this.#over = true
      return this.#events.end()
    }
    if (code === 1006) this.#fail(brokenConnection(undefined))
    else
      this.#fail(new ProxyError('ERR_GATEWAY_CLOSED', `the gateway closed the WebSocket with code ${code}`))
  }

  #fail(error: ProxyError): void {
    if (this.#over) return
    this.#over = true
    clearTimeout(this.#closeTimer)
    this.#events.failed(error)
  }
}

function brokenConnection(cause: Error | undefined): ProxyError {
  const code = cause !== undefined && 'code' in cause ? String(cause.code) : ''
  if (code === 'WS_ERR_UNSUPPORTED_MESSAGE_LENGTH') {
    return new ProxyError('ERR_CHUNK_TOO_LARGE', 'the gateway sent a message over the limit', { cause })
  }
  if (code.startsWith('WS_ERR_')) {
    return new ProxyError(
      'ERR_GATEWAY_PROTOCOL',
      `the gateway broke the WebSocket protocol: ${cause!.message}`,
      { cause },
    )
  }
  return new ProxyError('ERR_GATEWAY_LOST', 'the connection to the gateway was lost', { cause })
}

const EMPTY = Buffer.alloc(0)
const NEVER_MS = 2 ** 31 - 1
