/**
 * The WebSocket of the portable engine.
 *
 * Rule 1: one frame is under way at a time: what the client sends meanwhile gathers, and goes as one frame when it is out.
 *         So frames grow with the load, and Node's TLS, which copies what waits in its queue, has nothing to copy.
 * Rule 2: payload that comes is not copied: the client's socket gets views of what Node has read.
 */
import type { Socket } from 'node:net'
import type { FrameDecoder } from '../../platform/framing.js'
import type { SocketWriter } from '../../platform/socket-writer.js'
import { MAX_CHUNK_BYTES } from '../../wire/chunk.js'
import { encodeFrameInto, FRAME_HEADROOM } from '../../wire/client-frame.js'
import { createDecoder } from '../../wire/frame-decoder.js'
import type { GatewayEvents, GatewayOptions } from '../engine.js'
import { FramedSocket } from '../framed-socket.js'
import type { GatewayDialer } from '../gateway-dialer.js'
import type { Link } from '../link.js'
import { maskingKey } from '../masking-key.js'
import { NodeLink } from '../node-link.js'
import { upgrade } from '../upgrade.js'

export class NodeGatewaySocket extends FramedSocket<FrameDecoder> {
  readonly #arenas: Arenas
  // Of the frame that is under way, where the kernel has not taken it yet.
  #arena: Buffer | undefined
  // What the client has sent since the frame that is under way.
  #gathered: Buffer[] = []
  #gatheredBytes = 0
  readonly #sink: Pick<SocketWriter, 'write'> = { write: (pieces) => this.#deliver(pieces) }

  constructor(dialer: GatewayDialer, arenas: Arenas, options: GatewayOptions, events: GatewayEvents) {
    super(options, createDecoder({ maxMessageBytes: options.maxMessageBytes }), events)
    this.#arenas = arenas
    this.dialled(upgrade(dialer, options.token, this))
  }

  override get queuedBytes(): number {
    return super.queuedBytes + this.#gatheredBytes
  }

  override get full(): boolean {
    return this.#gatheredBytes > this.options.highBytes
  }

  send(bytes: Buffer): void {
    if (!this.mayWrite) return
    // Kept as they are: what this engine's clients have read is nobody else's.
    this.#gathered.push(bytes)
    this.#gatheredBytes += bytes.length
    if (this.link!.isFree) this.#sendGathered()
  }

  protected override sendClose(code: number): void {
    while (this.mayWrite && this.#gatheredBytes > 0) this.#sendGathered()
    super.sendClose(code)
  }

  override drained(): void {
    this.#returnArena()
    if (this.mayWrite && this.#gatheredBytes > 0) this.#sendGathered()
    super.drained()
  }

  received(): void {
    throw new Error('the portable engine reads no inbox')
  }

  bytes(bytes: Buffer): void {
    if (!this.isOver) this.happened(this.decoder.push(bytes, this.#sink as SocketWriter))
  }

  protected linkOf(socket: Socket): Link {
    return new NodeLink(socket, this.options.highBytes, this)
  }

  // One frame, of all that is gathered as a rule.
  #sendGathered(): void {
    const arena = this.#arenas.take()
    let end = FRAME_HEADROOM
    while (this.#gathered.length > 0) {
      const room = FRAME_HEADROOM + MAX_CHUNK_BYTES - end
      const piece = this.#gathered[0]!
      if (piece.length > room) {
        piece.copy(arena, end, 0, room)
        end += room
        this.#gathered[0] = piece.subarray(room)
        break
      }
      end += piece.copy(arena, end)
      this.#gathered.shift()
    }
    const bytes = end - FRAME_HEADROOM
    this.#gatheredBytes -= bytes
    const start = encodeFrameInto(arena, FRAME_HEADROOM, bytes, maskingKey())
    this.#arena = arena
    const isTaken = this.link!.takesAtOnce
    this.link!.lend(arena.subarray(start, end))
    if (isTaken || this.link!.isFree) this.#returnArena()
  }

  #returnArena(): void {
    if (this.#arena !== undefined) this.#arenas.give(this.#arena)
    this.#arena = undefined
  }

  #deliver(pieces: readonly Uint8Array[]): number {
    // Many small ones are dearer than a copy.
    const total = pieces.reduce((sum, { length }) => sum + length, 0)
    const joined = pieces.length > 1 && total < pieces.length * SMALL_BYTES ? [Buffer.concat(pieces)] : pieces
    for (const piece of joined) this.events.bytes(piece as Buffer)
    return 0
  }
}

/** Memory where frames are made, on loan until the kernel has taken them. */
export class Arenas {
  #free: Buffer[] = []

  take(): Buffer {
    return this.#free.pop() ?? Buffer.allocUnsafeSlow(FRAME_HEADROOM + MAX_CHUNK_BYTES)
  }

  give(arena: Buffer): void {
    if (this.#free.length < MAX_FREE) this.#free.push(arena)
  }
}

const MAX_FREE = 4
const SMALL_BYTES = 4 * 1024
