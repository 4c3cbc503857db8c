/**
 * The WebSocket of the native engine: frames are made in the memory that the client's bytes were read into, and decoded by
 * the addon, which hands payload to the client's socket in the same call.
 */
import type { Socket } from 'node:net'
import { FRAME_EVENT, type NativeFraming, type PassingDecoder } from '../../platform/framing.js'
import type { SystemCallError } from '../../platform/process-control.js'
import type { NativeSockets, ReadArena } from '../../platform/stream-socket.js'
import { MAX_CHUNK_BYTES } from '../../wire/chunk.js'
import { encodeChunkFrame, FRAME_HEADROOM } from '../../wire/client-frame.js'
import type { ClientSocket, GatewayEvents, GatewayOptions } from '../engine.js'
import { FramedSocket } from '../framed-socket.js'
import type { GatewayDialer } from '../gateway-dialer.js'
import type { Link } from '../link.js'
import { maskingKey } from '../masking-key.js'
import { NodeLink } from '../node-link.js'
import { upgrade } from '../upgrade.js'
import type { NativeClientSocket } from './client-socket.js'
import { StreamLink } from './stream-link.js'
import type { Turns } from './turns.js'

/** What all tunnels of an engine share. */
export interface NativeParts {
  readonly sockets: NativeSockets
  readonly framing: NativeFraming
  readonly dialer: GatewayDialer
  /** where the addon's sockets read */
  readonly arena: ReadArena
  /** where Node's sockets read */
  readonly inbox: Buffer
  readonly turns: Turns
}

export class NativeGatewaySocket extends FramedSocket<PassingDecoder> {
  readonly #parts: NativeParts
  #client!: NativeClientSocket
  // Payload that the tunnel has been told of.
  #toldBytes = 0
  // What has come in this turn of the loop, and whether that is enough for it.
  #turn = 0
  #turnBytes = 0
  #rests = false
  #isPaused = false

  constructor(parts: NativeParts, options: GatewayOptions, events: GatewayEvents) {
    const { maxMessageBytes } = options
    super(options, parts.framing.createDecoder({ maxMessageBytes }), events)
    this.#parts = parts
    this.dialled(upgrade(parts.dialer, options.token, this, parts.inbox))
  }

  override attach(client: ClientSocket, events: GatewayEvents): void {
    super.attach(client, events)
    this.#client = client as NativeClientSocket
    this.decoder.passTo(this.#parts.inbox, this.#client.socket)
  }

  send(bytes: Buffer): void {
    if (!this.mayWrite) return
    const { bytes: arena } = this.#parts.arena
    const start = bytes.byteOffset - arena.byteOffset
    if (bytes.buffer === arena.buffer && start >= FRAME_HEADROOM && bytes.length <= MAX_CHUNK_BYTES) {
      const encoded = this.#parts.framing.encodeFrameInto(arena, start, bytes.length, maskingKey())
      const frame = arena.subarray(encoded, start + bytes.length)
      const link = this.link!
      return link.takesAtOnce ? link.lend(frame) : link.write(Buffer.from(frame))
    }
    for (let at = 0; at < bytes.length; at += MAX_CHUNK_BYTES) {
      this.link!.write(encodeChunkFrame(bytes.subarray(at, at + MAX_CHUNK_BYTES), maskingKey()))
    }
  }

  override pause(): void {
    this.#isPaused = true
    super.pause()
  }

  override resume(): void {
    this.#isPaused = false
    if (!this.#rests) super.resume()
  }

  received(count: number): void {
    if (this.isOver) return
    this.#countTurn(count)
    if (!this.events.streams) return this.bytes(this.#parts.inbox.subarray(0, count))
    let passed: number
    try {
      // The first of a turn goes at once where it is short; the rest goes together, in one call.
      passed = this.decoder.pass(count, count === RECORD_BYTES || this.#turnBytes > count)
    } catch (error) {
      return this.#client.broke(error as SystemCallError)
    }
    if (passed < 0) return this.#passed(-passed)
    this.#toldBytes += passed
    if (passed > 0) this.events.passed(passed)
  }

  bytes(bytes: Buffer): void {
    if (this.isOver) return
    if (!this.events.streams) return this.#show(bytes)
    let events: number
    try {
      events = this.decoder.push(bytes, this.#client.socket)
    } catch (error) {
      return this.#client.broke(error as SystemCallError)
    }
    this.#passed(events)
  }

  // The addon's own socket, where there is no TLS and Node tells the descriptor (which has no public name).
  protected linkOf(socket: Socket): Link {
    const { sockets, arena } = this.#parts
    const { highBytes } = this.options
    const descriptor = (socket as { readonly _handle?: { readonly fd?: number } })._handle?.fd
    const isPlain = this.#parts.dialer.webSocketUrl.protocol === 'ws:'
    if (!isPlain || descriptor === undefined || descriptor < 0) return new NodeLink(socket, highBytes, this)
    const link = new StreamLink(descriptor, { sockets, arena, highBytes }, this)
    socket.on('error', () => undefined)
    socket.destroy()
    link.resume()
    return link
  }

  // libuv reads on for as long as there is something, 2 MiB at most: the others wait that long.
  #countTurn(count: number): void {
    const turn = this.#parts.turns.now()
    if (turn !== this.#turn) this.#turnBytes = 0
    this.#turn = turn
    this.#turnBytes += count
    if (this.#turnBytes < TURN_BYTES || this.#rests) return
    this.#rests = true
    super.pause()
    setImmediate(() => {
      this.#rests = false
      if (!this.#isPaused) super.resume()
    })
  }

  // A push has handed its payload to the client's socket.
  #passed(events: number): void {
    if ((events & FRAME_EVENT.queued) !== 0) this.#client.queues()
    const passed = this.decoder.payloadBytes - this.#toldBytes
    this.#toldBytes += passed
    if (passed > 0) this.events.passed(passed)
    this.happened(events)
  }

  // Payload that the tunnel wants to see.
  #show(bytes: Buffer): void {
    const events = this.decoder.push(bytes)
    this.#toldBytes = this.decoder.payloadBytes
    if ((events & FRAME_EVENT.payload) !== 0) {
      for (const payload of this.decoder.takePayload()) this.events.bytes(payload)
    }
    this.happened(events)
  }
}

// Behind a full record of TLS there is more as a rule.
const RECORD_BYTES = 16 * 1024
// bench/README.md, turns.
const TURN_BYTES = 256 * 1024
