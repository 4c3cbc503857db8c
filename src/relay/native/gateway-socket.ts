/**
 * One WebSocket to the gateway, all our own: frames are made in the memory that the client's bytes were read into, and
 * decoded by the addon, which hands payload to the client's socket in the same call.
 */
import type { Socket } from 'node:net'
import { ProxyError } from '../../errors.js'
import { FRAME_EVENT, type Framing, type PassingDecoder } from '../../platform/framing.js'
import type { SystemCallError } from '../../platform/process-control.js'
import type { NativeSockets, ReadArena } from '../../platform/stream-socket.js'
import { MAX_CHUNK_BYTES } from '../../wire/chunk.js'
import { encodeChunkFrame, encodeControlFrame, FRAME_HEADROOM } from '../../wire/client-frame.js'
import type { ClientSocket, GatewayEvents, GatewayOptions, GatewaySocket } from '../engine.js'
import type { GatewayDialer } from '../gateway-dialer.js'
import { maskingKey } from '../masking-key.js'
import type { NativeClientSocket } from './client-socket.js'
import type { Link, LinkEvents } from './link.js'
import { NodeLink } from './node-link.js'
import { StreamLink } from './stream-link.js'
import { type UpgradeEvents, upgrade } from './upgrade.js'

/** What all tunnels of an engine share. */
export interface NativeParts {
  readonly sockets: NativeSockets
  readonly framing: Framing
  readonly dialer: GatewayDialer
  /** where the addon's sockets read */
  readonly arena: ReadArena
  /** where Node's sockets read */
  readonly inbox: Buffer
}

export class NativeGatewaySocket implements GatewaySocket, UpgradeEvents, LinkEvents {
  readonly #parts: NativeParts
  readonly #options: GatewayOptions
  #client!: NativeClientSocket
  #events: GatewayEvents
  readonly #decoder: PassingDecoder
  // Payload that the tunnel has been told of.
  #toldBytes = 0
  readonly #dialled: Socket
  #link: Link | undefined
  #sentClose = false
  #isOver = false
  #leaveTimer: NodeJS.Timeout | undefined
  // A ping that waits for room to be answered: the last one.
  #ping: Buffer | undefined

  constructor(parts: NativeParts, options: GatewayOptions, events: GatewayEvents) {
    this.#parts = parts
    this.#options = options
    this.#events = events
    const { maxMessageBytes } = options
    this.#decoder = parts.framing.createDecoder({ maxMessageBytes }) as PassingDecoder
    this.#dialled = upgrade(parts.dialer, options.token, parts.inbox, this)
  }

  attach(client: ClientSocket, events: GatewayEvents): void {
    this.#client = client as NativeClientSocket
    this.#events = events
    this.#decoder.passTo(this.#parts.inbox, this.#client.socket)
  }

  get queuedBytes(): number {
    return this.#link?.queuedBytes ?? 0
  }

  get full(): boolean {
    return this.#link?.full ?? false
  }

  send(bytes: Buffer): void {
    if (!this.#mayWrite) return
    const { bytes: arena } = this.#parts.arena
    const start = bytes.byteOffset - arena.byteOffset
    if (bytes.buffer === arena.buffer && start >= FRAME_HEADROOM && bytes.length <= MAX_CHUNK_BYTES) {
      const frame = this.#parts.framing.encodeFrameInto(arena, start, bytes.length, maskingKey())
      return this.#link!.lend(arena.subarray(frame, start + bytes.length))
    }
    for (let at = 0; at < bytes.length; at += MAX_CHUNK_BYTES) {
      this.#link!.write(encodeChunkFrame(bytes.subarray(at, at + MAX_CHUNK_BYTES), maskingKey()))
    }
  }

  sendKeepalive(): void {
    if (this.#mayWrite) this.#link!.write(encodeChunkFrame(EMPTY, maskingKey()))
  }

  ping(): void {
    if (this.#mayWrite) this.#link!.write(encodeControlFrame('ping', EMPTY, maskingKey()))
  }

  pause(): void {
    this.#link?.pause()
  }

  resume(): void {
    if (!this.#isOver) this.#link?.resume()
  }

  close(): void {
    if (this.#link === undefined) return this.abort()
    if (!this.#isOver) this.#sendClose(1000)
  }

  abort(): void {
    // A connection that has had its Close is on its way out, and dropping it would be a reset.
    if (this.#leaveTimer !== undefined) return
    this.#isOver = true
    if (this.#link !== undefined) this.#link.destroy()
    else this.#dialled.destroy()
  }

  // ── what the upgrade and the link say ──

  upgraded(socket: Socket, rest: Buffer): void {
    if (this.#isOver) return
    this.#link = this.#linkOf(socket)
    this.#events.open()
    if (rest.length > 0) this.bytes(rest)
  }

  received(count: number): void {
    if (this.#isOver) return
    if (!this.#events.streams) return this.bytes(this.#parts.inbox.subarray(0, count))
    let passed: number
    try {
      passed = this.#decoder.pass(count)
    } catch (error) {
      return this.#client.broke(error as SystemCallError)
    }
    if (passed < 0) return this.#happened(-passed)
    this.#toldBytes += passed
    if (passed > 0) this.#events.passed(passed)
  }

  bytes(bytes: Buffer): void {
    if (this.#isOver) return
    if (!this.#events.streams) return this.#happened(this.#show(bytes))
    let events: number
    try {
      events = this.#decoder.push(bytes, this.#client.socket)
    } catch (error) {
      return this.#client.broke(error as SystemCallError)
    }
    this.#happened(events)
  }

  // What came up in a push that has passed its payload on.
  #happened(events: number): void {
    if ((events & FRAME_EVENT.queued) !== 0) this.#client.queues()
    const passed = this.#decoder.payloadBytes - this.#toldBytes
    this.#toldBytes += passed
    if (passed > 0) this.#events.passed(passed)
    if (this.#isOver) return
    if ((events & FRAME_EVENT.pong) !== 0) this.#events.pong()
    if ((events & FRAME_EVENT.ping) !== 0) this.#answerPing()
    if ((events & FRAME_EVENT.failed) !== 0) this.#violated()
    else if ((events & FRAME_EVENT.closed) !== 0) this.#gatewayClosed(this.#decoder.closeCode!)
  }

  drained(): void {
    if (this.#ping !== undefined) this.#answerPing()
    if (!this.#isOver) this.#events.drained()
  }

  ended(isFin: boolean): void {
    if (this.#isOver) return
    if (!isFin || !this.#decoder.betweenMessages) return this.lost(undefined)
    this.abort()
    this.#events.end()
  }

  lost(cause: Error | undefined): void {
    this.failed(new ProxyError('ERR_GATEWAY_LOST', 'the connection to the gateway was lost', { cause }))
  }

  closed(): void {
    this.lost(undefined)
  }

  failed(error: ProxyError): void {
    if (this.#isOver) return
    this.abort()
    this.#events.failed(error)
  }

  probe(): Buffer {
    return this.#sentClose ? EMPTY : encodeChunkFrame(EMPTY, maskingKey())
  }

  get #mayWrite(): boolean {
    return this.#link !== undefined && !this.#sentClose && !this.#isOver
  }

  // The addon's own socket, where there is no TLS and Node tells the descriptor (which has no public name).
  #linkOf(socket: Socket): Link {
    const { sockets, arena } = this.#parts
    const { highBytes } = this.#options
    const descriptor = (socket as { readonly _handle?: { readonly fd?: number } })._handle?.fd
    const isPlain = this.#parts.dialer.webSocketUrl.protocol === 'ws:'
    if (!isPlain || descriptor === undefined || descriptor < 0) return new NodeLink(socket, highBytes, this)
    const link = new StreamLink(descriptor, { sockets, arena, highBytes }, this)
    socket.on('error', () => undefined)
    socket.destroy()
    link.resume()
    return link
  }

  // Payload that the tunnel wants to see.
  #show(bytes: Buffer): number {
    const events = this.#decoder.push(bytes)
    this.#toldBytes = this.#decoder.payloadBytes
    if ((events & FRAME_EVENT.payload) !== 0) {
      for (const payload of this.#decoder.takePayload()) this.#events.bytes(payload)
    }
    return events
  }

  // One pong for the last ping (RFC 6455 §5.5.3), and none while what is queued does not go out.
  #answerPing(): void {
    this.#ping = this.#decoder.takePing() ?? this.#ping
    if (this.#ping === undefined || !this.#mayWrite || this.#link!.queuedBytes > PONG_ROOM) return
    this.#link!.write(encodeControlFrame('pong', this.#ping, maskingKey()))
    this.#ping = undefined
  }

  #gatewayClosed(code: number): void {
    if (!this.#sentClose) this.#sendClose(code)
    this.#leave()
    if (code === 1000 || code === 1005) return this.#events.end()
    const closed = `the gateway closed the WebSocket with code ${code}`
    this.#events.failed(new ProxyError('ERR_GATEWAY_CLOSED', closed))
  }

  #violated(): void {
    const { code, message } = this.#decoder.failure!
    if (!this.#sentClose) this.#sendClose(code === 'ERR_CHUNK_TOO_LARGE' ? 1009 : 1002)
    this.#leave()
    this.#events.failed(new ProxyError(code, message))
  }

  // Nothing more is of interest; what is queued may still go, and the gateway close its TCP first, for a while.
  #leave(): void {
    this.#isOver = true
    const link = this.#link!
    link.end()
    link.resume()
    this.#leaveTimer = setTimeout(() => link.destroy(), this.#options.closeTimeoutMs).unref()
  }

  #sendClose(code: number): void {
    if (this.#sentClose) return
    const payload = code === 1005 ? EMPTY : Buffer.from([code >> 8, code & 0xff])
    this.#link!.write(encodeControlFrame('close', payload, maskingKey()))
    this.#sentClose = true
  }
}

const EMPTY = Buffer.alloc(0)
const PONG_ROOM = 64 * 1024
