/**
 * One WebSocket to the gateway, all our own, as every engine of Node's has it: the upgrade, the frames of the protocol, the
 * end. How payload goes up and down is each engine's.
 */
import type { Socket } from 'node:net'
import { ProxyError } from '../errors.js'
import { FRAME_EVENT, type FrameDecoder } from '../platform/framing.js'
import { encodeChunkFrame, encodeControlFrame } from '../wire/client-frame.js'
import type { ClientSocket, GatewayEvents, GatewayOptions, GatewaySocket } from './engine.js'
import type { Link, LinkEvents } from './link.js'
import { maskingKey } from './masking-key.js'
import type { UpgradeEvents } from './upgrade.js'

export abstract class FramedSocket<Decoder extends FrameDecoder>
  implements GatewaySocket, UpgradeEvents, LinkEvents
{
  protected readonly options: GatewayOptions
  protected readonly decoder: Decoder
  protected events: GatewayEvents
  /** undefined before the upgrade */
  protected link: Link | undefined
  /** nothing that comes is of interest any more */
  protected isOver = false
  #dialled: Socket | undefined
  #sentClose = false
  #leaveTimer: NodeJS.Timeout | undefined
  // A ping that waits for room to be answered: the last one.
  #ping: Buffer | undefined

  constructor(options: GatewayOptions, decoder: Decoder, events: GatewayEvents) {
    this.options = options
    this.decoder = decoder
    this.events = events
  }

  /** Sends bytes as chunks, where `mayWrite`. */
  abstract send(bytes: Buffer): void
  abstract received(count: number): void
  abstract bytes(bytes: Buffer): void
  protected abstract linkOf(socket: Socket): Link

  /** Takes the socket on which the upgrade is under way. */
  protected dialled(socket: Socket): void {
    this.#dialled = socket
  }

  attach(_client: ClientSocket, events: GatewayEvents): void {
    this.events = events
  }

  get queuedBytes(): number {
    return this.link?.queuedBytes ?? 0
  }

  get full(): boolean {
    return this.link?.full ?? false
  }

  sendKeepalive(): void {
    if (this.mayWrite) this.link!.write(encodeChunkFrame(EMPTY, maskingKey()))
  }

  ping(): void {
    if (this.mayWrite) this.link!.write(encodeControlFrame('ping', EMPTY, maskingKey()))
  }

  pause(): void {
    this.link?.pause()
  }

  resume(): void {
    if (!this.isOver) this.link?.resume()
  }

  close(): void {
    if (this.link === undefined) return this.abort()
    if (!this.isOver) this.sendClose(1000)
  }

  abort(): void {
    // A connection that has had its Close is on its way out, and dropping it would be a reset.
    if (this.#leaveTimer !== undefined) return
    this.isOver = true
    if (this.link !== undefined) this.link.destroy()
    else this.#dialled?.destroy()
  }

  // ── what the upgrade and the link say ──

  upgraded(socket: Socket, rest: Buffer): void {
    if (this.isOver) return
    this.link = this.linkOf(socket)
    this.events.open()
    if (rest.length > 0) this.bytes(rest)
  }

  drained(): void {
    if (this.#ping !== undefined) this.#answerPing()
    if (!this.isOver) this.events.drained()
  }

  ended(isFin: boolean): void {
    if (this.isOver) return
    if (!isFin || !this.decoder.betweenMessages) return this.lost(undefined)
    this.abort()
    this.events.end()
  }

  lost(cause: Error | undefined): void {
    this.failed(new ProxyError('ERR_GATEWAY_LOST', 'the connection to the gateway was lost', { cause }))
  }

  closed(): void {
    this.lost(undefined)
  }

  failed(error: ProxyError): void {
    if (this.isOver) return
    this.abort()
    this.events.failed(error)
  }

  probe(): Buffer {
    return this.#sentClose ? EMPTY : encodeChunkFrame(EMPTY, maskingKey())
  }

  protected get mayWrite(): boolean {
    return this.link !== undefined && !this.#sentClose && !this.isOver
  }

  /** What came up in a push, beside payload (bits of FRAME_EVENT). */
  protected happened(events: number): void {
    if (this.isOver) return
    if ((events & FRAME_EVENT.pong) !== 0) this.events.pong()
    if ((events & FRAME_EVENT.ping) !== 0) this.#answerPing()
    if ((events & FRAME_EVENT.failed) !== 0) this.#violated()
    else if ((events & FRAME_EVENT.closed) !== 0) this.#gatewayClosed(this.decoder.closeCode!)
  }

  /** The last frame that is sent; what is queued goes before it. */
  protected sendClose(code: number): void {
    if (this.#sentClose) return
    const payload = code === 1005 ? EMPTY : Buffer.from([code >> 8, code & 0xff])
    this.link!.write(encodeControlFrame('close', payload, maskingKey()))
    this.#sentClose = true
  }

  // One pong for the last ping (RFC 6455 §5.5.3), and none while what is queued does not go out.
  #answerPing(): void {
    this.#ping = this.decoder.takePing() ?? this.#ping
    if (this.#ping === undefined || !this.mayWrite || this.link!.queuedBytes > PONG_ROOM) return
    this.link!.write(encodeControlFrame('pong', this.#ping, maskingKey()))
    this.#ping = undefined
  }

  #gatewayClosed(code: number): void {
    this.sendClose(code)
    this.#leave()
    if (code === 1000 || code === 1005) return this.events.end()
    const closed = `the gateway closed the WebSocket with code ${code}`
    this.events.failed(new ProxyError('ERR_GATEWAY_CLOSED', closed))
  }

  #violated(): void {
    const { code, message } = this.decoder.failure!
    this.sendClose(code === 'ERR_CHUNK_TOO_LARGE' ? 1009 : 1002)
    this.#leave()
    this.events.failed(new ProxyError(code, message))
  }

  // Nothing more is of interest; what is queued may still go, and the gateway close its TCP first, for a while.
  #leave(): void {
    this.isOver = true
    const link = this.link!
    link.end()
    link.resume()
    this.#leaveTimer = setTimeout(() => link.destroy(), this.options.closeTimeoutMs).unref()
  }
}

const EMPTY = Buffer.alloc(0)
const PONG_ROOM = 64 * 1024
