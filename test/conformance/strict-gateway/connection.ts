/**
 * One connection to the strict gateway: what the relay sends is judged here, what the gateway sends is the test's
 * to say.
 *
 * Rule 1: whatever the relay does that no rule allows becomes a complaint; nothing throws out of an event.
 * Rule 2: how a relay may end without a Close is the exception, and the test says so (`provoked`).
 */
import type { Socket } from 'node:net'
import { TLSSocket } from 'node:tls'
import { within } from '../../support/deadline.js'
import { deferred } from '../../support/deferred.js'
import { Inbox } from '../../support/inbox.js'
import { chunk } from './chunk.js'
import { CLOSE, encodeFrame, FrameReader, type FrameShape, PING, PONG } from './frames.js'
import { readUpgrade, type UpgradeExpectation, type UpgradeRequest } from './handshake.js'
import { type Message, MessageReader } from './messages.js'
import { type Credentials, UploadReader } from './upload.js'

export const ESTABLISHED = 'HTTP/1.1 200 Connection Established\r\n\r\n'

/** How the relay left: its Close, if it sent one, and how its TCP went. */
export interface Departure {
  readonly close: { readonly code: number | undefined } | undefined
  readonly tcp: 'fin' | 'rst' | 'ours'
}

export class GatewayConnection {
  /** TLS over `raw`, or `raw` itself */
  readonly socket: Socket
  /** payloads, keepalives and the CONNECT aside */
  readonly inbox: Inbox
  /** resolves once the connection is gone */
  readonly over: Promise<Departure>
  /** resolves with the code once the relay's Close is here */
  readonly closed: Promise<number | undefined>
  readonly pings: Buffer[] = []
  readonly pongs: Buffer[] = []
  keepalives = 0
  /** payload bytes of the longest chunk */
  longestChunk = 0
  /** data messages of any kind */
  messages = 0
  /** answer pings and the Close (default: true) */
  autoPong = true
  autoClose = true
  readonly #raw: Socket
  readonly #complain: (what: string) => void
  readonly #frames: FrameReader
  readonly #messages: MessageReader
  readonly #uploads: UploadReader
  readonly #expected: UpgradeExpectation
  readonly #head: Inbox
  readonly #upgrade = deferred<UpgradeRequest>()
  readonly #connect = deferred<string>()
  readonly #close = deferred<number | undefined>()
  #headText = ''
  #phase: 'head' | 'judged' | 'upgraded' = 'head'
  #provoked = false
  #relayClosed: { code: number | undefined } | undefined
  #weClosed = false
  #tcp: Departure['tcp'] = 'ours'

  constructor(
    raw: Socket,
    socket: Socket,
    expected: UpgradeExpectation & Credentials,
    complain: (what: string) => void,
  ) {
    this.#raw = raw
    this.socket = socket
    this.#complain = complain
    this.#expected = expected
    this.#frames = new FrameReader(complain)
    this.#messages = new MessageReader(complain)
    this.#uploads = new UploadReader(expected, complain)
    this.#head = new Inbox('the upgrade request')
    this.inbox = new Inbox('the relay')
    this.closed = this.#close.promise
    socket.on('data', (bytes: Buffer) => this.#bytes(bytes))
    socket.on('end', () => this.#ended())
    socket.on('error', (error) => this.#failed(error))
    this.over = new Promise((resolve) => {
      socket.on('close', () => {
        this.#head.finish()
        this.inbox.finish()
        this.#upgrade.fail('the connection is gone: no upgrade request')
        this.#connect.fail('the connection is gone: no CONNECT')
        this.#close.fail('the connection is gone: no Close')
        resolve({ close: this.#relayClosed, tcp: this.#tcp })
      })
    })
  }

  get isSessionReused(): boolean {
    return this.socket instanceof TLSSocket && this.socket.isSessionReused()
  }

  // ── reading, step by step ──

  /** The upgrade request, judged. */
  request(): Promise<UpgradeRequest> {
    return within(this.#upgrade.promise, 'the upgrade request')
  }

  /** The CONNECT chunk: its authority. */
  connect(): Promise<string> {
    return within(this.#connect.promise, 'the CONNECT chunk')
  }

  /** Upgrade, CONNECT, 200: a tunnel that is open. Returns its authority. */
  async open(): Promise<string> {
    await this.upgrade()
    const authority = await this.connect()
    this.answer()
    return authority
  }

  // ── writing ──

  /** 101, or what `head` says, made from the right Sec-WebSocket-Accept. */
  async upgrade(head: (accept: string) => string = switching): Promise<void> {
    const { accept } = await this.request()
    this.#phase = 'upgraded'
    this.raw(head(accept))
  }

  /** Another answer to the upgrade, then FIN. */
  async refuseUpgrade(statusLine: string, headers = '', body = ''): Promise<void> {
    await this.request()
    this.provoked()
    const length = `Content-Length: ${Buffer.byteLength(body)}\r\n`
    this.socket.end(`HTTP/1.1 ${statusLine}\r\n${headers}${length}Connection: close\r\n\r\n${body}`)
  }

  /** An answer to the CONNECT, in one chunk. One that is not 2xx is watched: see `watchRefusal`. */
  answer(text: string = ESTABLISHED): void {
    this.send(text)
    if (!/^HTTP\/1\.[01] 2/.test(text)) this.watchRefusal()
  }

  /** A ping behind a refusal: when its pong comes, the relay has read the refusal and must send no more data. */
  watchRefusal(): void {
    this.frame({ opcode: PING, payload: REFUSAL_MARK })
  }

  /** One chunk in one frame. */
  send(payload: Uint8Array | string): void {
    this.frame({ payload: chunk(payload) })
  }

  frame(shape: FrameShape): void {
    this.raw(encodeFrame(shape))
  }

  /** A string's characters are bytes. */
  raw(bytes: Uint8Array | string): void {
    const buffer = typeof bytes === 'string' ? Buffer.from(bytes, 'latin1') : bytes
    if (!this.socket.destroyed) this.socket.write(buffer)
  }

  /** Sends chunks as the relay takes them; resolves when the last has gone to the kernel. */
  async stream(pieces: Iterable<Uint8Array>): Promise<void> {
    for (const piece of pieces) {
      const frame = encodeFrame({ payload: chunk(piece) })
      await new Promise<void>((resolve, reject) => {
        this.socket.write(frame, (error) => (error ? reject(error) : resolve()))
      })
    }
  }

  /** A Close with this code, or without one. */
  close(code?: number, reason = ''): void {
    this.#weClosed = true
    const payload = Buffer.alloc(code === undefined ? 0 : 2 + Buffer.byteLength(reason))
    if (code !== undefined) {
      payload.writeUInt16BE(code)
      payload.write(reason, 2)
    }
    this.frame({ opcode: CLOSE, payload })
    if (this.#relayClosed) this.socket.end()
  }

  /** FIN: the relay need not say Close to a gateway that has gone. */
  fin(): void {
    this.provoked()
    this.socket.end()
  }

  /** RST */
  reset(): void {
    this.provoked()
    this.#raw.resetAndDestroy()
  }

  /** Reads no more; the kernel's buffers fill. */
  stall(): void {
    this.socket.pause()
  }

  resume(): void {
    this.socket.resume()
  }

  /** From here on the relay may drop the connection without a Close. */
  provoked(): this {
    this.#provoked = true
    return this
  }

  // ── what the relay sends ──

  #bytes(bytes: Buffer): void {
    if (this.#phase === 'upgraded') return this.#webSocketBytes(bytes)
    if (this.#phase === 'judged')
      return this.#complain(`${bytes.length} bytes before the answer to the upgrade`)
    this.#headText += bytes.toString('latin1')
    if (this.#headText.length > MAX_HEAD_BYTES) return this.#complain('an upgrade request of over 16 KiB')
    const end = this.#headText.indexOf('\r\n\r\n') + 4
    if (end < 4) return
    this.#phase = 'judged'
    if (end < this.#headText.length) this.#complain('bytes right behind the upgrade request')
    const request = readUpgrade(this.#headText.slice(0, end), this.#expected)
    for (const fault of request.faults) this.#complain(fault)
    this.#upgrade.resolve(request)
  }

  #webSocketBytes(bytes: Buffer): void {
    for (const frame of this.#frames.push(bytes)) {
      const message = this.#messages.take(frame)
      if (message) this.#message(message)
    }
  }

  #message(message: Message): void {
    switch (message.kind) {
      case 'ping':
        this.pings.push(message.bytes)
        if (this.autoPong) this.frame({ opcode: PONG, payload: message.bytes })
        return
      case 'pong':
        if (message.bytes.equals(REFUSAL_MARK)) this.#uploads.refusalRead()
        else this.pongs.push(message.bytes)
        return
      case 'close':
        return this.#closeFrame(message.code)
      default:
        return this.#upload(message.bytes)
    }
  }

  #upload(message: Buffer): void {
    this.messages++
    const upload = this.#uploads.take(message)
    if (upload?.kind === 'connect') this.#connect.resolve(upload.authority)
    if (upload?.kind === 'keepalive') this.keepalives++
    if (upload?.kind !== 'payload') return
    this.longestChunk = Math.max(this.longestChunk, upload.bytes.length)
    this.inbox.push(upload.bytes)
  }

  #closeFrame(code: number | undefined): void {
    this.#relayClosed = { code }
    this.inbox.finish()
    this.#close.resolve(code)
    if (this.#weClosed) this.socket.end()
    else if (this.autoClose) this.close(code)
  }

  #ended(): void {
    this.#tcp = 'fin'
    this.inbox.finish()
    if (this.#provoked) return
    if (this.#phase !== 'upgraded') return this.#complain('TCP ended before the upgrade')
    if (this.#frames.midFrame) this.#complain('TCP ended inside a frame')
    else if (this.#messages.midMessage) this.#complain('TCP ended inside a message')
    else if (!this.#relayClosed) this.#complain('TCP ended without a Close (§7.1.1)')
    if (this.#relayClosed && !this.#weClosed) {
      this.#complain('TCP ended before the gateway answered the Close (§7.1.1: the server ends it first)')
    }
  }

  #failed(error: NodeJS.ErrnoException): void {
    this.#tcp = 'rst'
    // Whatever is wrong with TLS is the relay's to tell its client; a write into a connection that is gone is ours.
    if (this.#provoked || error.code !== 'ECONNRESET') return
    this.#complain('the connection was reset')
  }
}

function switching(accept: string): string {
  return `HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: ${accept}\r\n\r\n`
}

const REFUSAL_MARK = Buffer.from('refusal read?')
const MAX_HEAD_BYTES = 16 * 1024
