/**
 * WebSocket frames (RFC 6455 §5.2), read as a strict server reads a client's and written as any server might.
 *
 * Rule 1: the reader follows the RFC's text, not any library; what the text forbids is a complaint.
 * Rule 2: a complaint does not stop it, unless there is no telling where the next frame begins.
 * Rule 3: the writer writes what it is told, valid or not.
 */

export interface Frame {
  readonly fin: boolean
  readonly opcode: number
  /** unmasked */
  readonly payload: Buffer
}

export const CONTINUATION = 0x0
export const TEXT = 0x1
export const BINARY = 0x2
export const CLOSE = 0x8
export const PING = 0x9
export const PONG = 0xa

export function isControl(opcode: number): boolean {
  return (opcode & 0x8) !== 0
}

interface FrameHeader {
  readonly first: number
  readonly key: Buffer | undefined
  /** of the header itself */
  readonly bytes: number
  readonly payloadBytes: number
}

/** Reads frames out of bytes that come in any pieces. */
export class FrameReader {
  readonly #complain: (what: string) => void
  readonly #keys = new MaskingKeys()
  #held: Buffer[] = []
  #heldBytes = 0
  // How many held bytes it takes to get on.
  #needed = SHORTEST_HEADER
  #header: FrameHeader | undefined
  #broken = false

  constructor(complain: (what: string) => void) {
    this.#complain = complain
  }

  /** true where the bytes so far end inside a frame */
  get midFrame(): boolean {
    return this.#heldBytes > 0
  }

  /** the frames that these bytes complete */
  push(bytes: Buffer): Frame[] {
    this.#held.push(bytes)
    this.#heldBytes += bytes.length
    const frames: Frame[] = []
    while (this.#heldBytes >= this.#needed && !this.#broken) {
      // Joined only when there is enough to get on: a long frame comes in many pieces.
      const all = this.#held.length === 1 ? this.#held[0]! : Buffer.concat(this.#held)
      this.#held = [all]
      this.#header ??= this.#readHeader(all)
      if (!this.#header || all.length < this.#needed) continue
      frames.push(this.#readPayload(this.#header, all))
      this.#header = undefined
      this.#held = all.length > this.#needed ? [all.subarray(this.#needed)] : []
      this.#heldBytes -= this.#needed
      this.#needed = SHORTEST_HEADER
    }
    return frames
  }

  #readHeader(all: Buffer): FrameHeader | undefined {
    const [first, second] = [all[0]!, all[1]!]
    const masked = (second & 0x80) !== 0
    const bytes = SHORTEST_HEADER + (LENGTH_BYTES.get(second & 0x7f) ?? 0) + (masked ? 4 : 0)
    this.#needed = bytes
    if (all.length < bytes) return undefined
    const payloadBytes = this.#readLength(all, second & 0x7f)
    this.#judge(first, payloadBytes)
    this.#needed = bytes + payloadBytes
    if (!masked) this.#complain('an unmasked frame (§5.1)')
    return {
      first,
      key: masked ? Buffer.from(all.subarray(bytes - 4, bytes)) : undefined,
      bytes,
      payloadBytes,
    }
  }

  #readLength(all: Buffer, short: number): number {
    if (short < 126) return short
    const length = short === 126 ? all.readUInt16BE(2) : Number(all.readBigUInt64BE(2))
    if (length < (short === 126 ? 126 : 0x1_0000)) {
      this.#complain(`a length of ${length} not in its shortest form (§5.2)`)
    }
    if (length > MAX_FRAME_BYTES) {
      this.#broken = true
      this.#complain(`a frame of ${length} bytes`)
    }
    return length
  }

  #readPayload({ first, key, bytes }: FrameHeader, all: Buffer): Frame {
    const payload = all.subarray(bytes, this.#needed)
    if (key) this.#unmask(payload, key)
    return { fin: (first & 0x80) !== 0, opcode: first & 0x0f, payload }
  }

  #judge(first: number, length: number): void {
    const opcode = first & 0x0f
    if ((first & 0x70) !== 0) this.#complain(`RSV bits 0x${(first & 0x70).toString(16)} (§5.2)`)
    if (!KNOWN_OPCODES.has(opcode)) this.#complain(`opcode 0x${opcode.toString(16)} (§5.2)`)
    if (isControl(opcode)) {
      if ((first & 0x80) === 0) this.#complain('a fragmented control frame (§5.5)')
      if (length > 125) this.#complain(`a control frame of ${length} bytes (§5.5)`)
    }
  }

  #unmask(payload: Buffer, key: Buffer): void {
    const fault = this.#keys.judge(key.readUInt32BE(0))
    if (fault) this.#complain(`${fault} (§5.3)`)
    const [a, b, c, d] = [key[0]!, key[1]!, key[2]!, key[3]!]
    let i = 0
    for (; i + 3 < payload.length; i += 4) {
      payload[i]! ^= a
      payload[i + 1]! ^= b
      payload[i + 2]! ^= c
      payload[i + 3]! ^= d
    }
    for (; i < payload.length; i++) payload[i]! ^= key[i & 3]!
  }
}

/** What a frame is to be made of: by default a whole binary one as a server must write it. */
export interface FrameShape {
  readonly opcode?: number
  readonly fin?: boolean
  /** the three RSV bits, 0x40 0x20 0x10 */
  readonly rsv?: number
  readonly payload?: Uint8Array
  /** masks the payload with these four bytes */
  readonly maskingKey?: Uint8Array
  /** how the length is written (default: as short as can be) */
  readonly lengthForm?: 7 | 16 | 64
  /** the length to write (default: the payload's) */
  readonly claimedBytes?: bigint
}

/** A frame's bytes, valid or not. */
export function encodeFrame(shape: FrameShape = {}): Buffer {
  const { opcode = BINARY, fin = true, rsv = 0, payload = Buffer.alloc(0), maskingKey } = shape
  const bytes = shape.claimedBytes ?? BigInt(payload.length)
  const form = shape.lengthForm ?? (bytes < 126n ? 7 : bytes < 0x1_0000n ? 16 : 64)
  const length = Buffer.alloc(1 + (form === 7 ? 0 : form / 8))
  if (form === 7) length[0] = Number(bytes)
  else if (form === 16) length.writeUInt16BE(Number(bytes), 1)
  else length.writeBigUInt64BE(bytes, 1)
  if (form !== 7) length[0] = form === 16 ? 126 : 127
  if (maskingKey) length[0]! |= 0x80
  const body = maskingKey ? payload.map((byte, i) => byte ^ maskingKey[i & 3]!) : payload
  const first = Buffer.from([(fin ? 0x80 : 0) | rsv | opcode])
  return Buffer.concat([first, length, ...(maskingKey ? [maskingKey] : []), body])
}

/** Judges one connection's masking keys: they must be fresh and unpredictable, and chance may repeat one. */
class MaskingKeys {
  readonly #seen = new Set<number>()
  #last: number | undefined
  #step: number | undefined
  #repeats = 0

  judge(key: number): string | undefined {
    const step = this.#last === undefined ? undefined : (key - this.#last) | 0
    // Three keys at one distance, by chance: once in 2^32 frames, like a key of zero.
    const isCounter = step !== undefined && step === this.#step
    const repeats = this.#seen.has(key) ? ++this.#repeats : 0
    this.#seen.add(key)
    this.#last = key
    this.#step = step
    if (key === 0) return 'an all-zero masking key'
    if (step === 0) return 'the masking key of the frame before'
    if (isCounter) return 'masking keys that a counter gives'
    // Among 10,000 keys of 32 bits one repeats once in 86 runs; two hardly ever do.
    return repeats > 1 ? 'masking keys that repeat' : undefined
  }
}

const SHORTEST_HEADER = 2
const LENGTH_BYTES = new Map([
  [126, 2],
  [127, 8],
])
const KNOWN_OPCODES = new Set([CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG])
const MAX_FRAME_BYTES = 16 * 1024 * 1024
