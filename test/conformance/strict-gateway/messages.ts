/**
 * Messages made of frames, and the closing handshake (RFC 6455 §5.4, §5.5.1, §7.4).
 *
 * Rule 1: of data messages only binary ones are in order (wire protocol v1).
 * Rule 2: after a Close nothing may follow.
 */
import { BINARY, CLOSE, CONTINUATION, type Frame, isControl, PING, PONG, TEXT } from './frames.js'

export type Message =
  | { readonly kind: 'data'; readonly bytes: Buffer }
  | { readonly kind: 'ping' | 'pong'; readonly bytes: Buffer }
  | { readonly kind: 'close'; readonly code: number | undefined }

export class MessageReader {
  readonly #complain: (what: string) => void
  #fragments: Buffer[] | undefined
  #closed = false

  constructor(complain: (what: string) => void) {
    this.#complain = complain
  }

  /** true where the frames so far end inside a message */
  get midMessage(): boolean {
    return this.#fragments !== undefined
  }

  /** the message that this frame completes */
  take({ fin, opcode, payload }: Frame): Message | undefined {
    if (this.#closed) {
      this.#complain(`a frame after Close, opcode 0x${opcode.toString(16)} (§5.5.1)`)
      return undefined
    }
    if (isControl(opcode)) return this.#control(opcode, payload)
    if (opcode === TEXT) this.#complain('a text message')
    if (opcode === CONTINUATION && !this.#fragments) this.#complain('a continuation of nothing (§5.4)')
    if (opcode !== CONTINUATION && this.#fragments) this.#complain('a message inside another (§5.4)')
    if (opcode === TEXT || opcode === BINARY) this.#fragments = []
    const fragments = this.#fragments ?? []
    fragments.push(payload)
    if (!fin) return undefined
    this.#fragments = undefined
    return { kind: 'data', bytes: fragments.length === 1 ? payload : Buffer.concat(fragments) }
  }

  #control(opcode: number, bytes: Buffer): Message | undefined {
    if (opcode === PING) return { kind: 'ping', bytes }
    if (opcode === PONG) return { kind: 'pong', bytes }
    if (opcode !== CLOSE) return undefined
    this.#closed = true
    return { kind: 'close', code: this.#closeCode(bytes) }
  }

  #closeCode(bytes: Buffer): number | undefined {
    if (this.#fragments) this.#complain('a Close inside a message')
    if (bytes.length === 0) return undefined
    if (bytes.length === 1) {
      this.#complain('a Close with half a code (§5.5.1)')
      return undefined
    }
    const code = bytes.readUInt16BE(0)
    const allowed = (code >= 1000 && code <= 1014 && !NEVER_SENT.has(code)) || (code >= 3000 && code <= 4999)
    if (!allowed) this.#complain(`a Close with code ${code} (§7.4)`)
    try {
      new TextDecoder('utf-8', { fatal: true }).decode(bytes.subarray(2))
    } catch {
      this.#complain('a Close with a reason that is not UTF-8 (§5.5.1)')
    }
    return code
  }
}

// Reserved for what is never on the wire, or for nothing yet (§7.4.1; the rest from IANA's registry).
const NEVER_SENT = new Set([1004, 1005, 1006])
