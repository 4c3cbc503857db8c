/**
 * The order of what a relay sends up one WebSocket (wire protocol v1).
 *
 * Rule 1: the first chunk is the CONNECT head, exactly, and nothing else is in it.
 * Rule 2: an empty chunk is a keepalive; it never comes before the CONNECT.
 * Rule 3: once the relay has read an answer other than 2xx, no more data.
 */
import { readChunkStrictly } from './chunk.js'

export interface Credentials {
  readonly sessionId: string
  readonly token: string
}

export type Upload =
  | { readonly kind: 'connect'; readonly authority: string }
  | { readonly kind: 'payload'; readonly bytes: Buffer }
  | { readonly kind: 'keepalive' }

export class UploadReader {
  readonly #complain: (what: string) => void
  readonly #expectedTail: string
  #connected = false
  #refused = false

  constructor({ sessionId, token }: Credentials, complain: (what: string) => void) {
    this.#complain = complain
    const basic = Buffer.from(`${sessionId}:${token}`).toString('base64')
    this.#expectedTail = ` HTTP/1.1\r\nProxy-Authorization: Basic ${basic}\r\n\r\n`
  }

  /** The relay has read the refusal: from now on it must be silent. */
  refusalRead(): void {
    this.#refused = true
  }

  /** what a message means, undefined where that cannot be told */
  take(message: Buffer): Upload | undefined {
    const result = readChunkStrictly(message)
    if ('fault' in result) {
      this.#complain(result.fault)
      return undefined
    }
    const { payload } = result
    if (!this.#connected) return this.#connect(payload)
    if (payload.length === 0) return { kind: 'keepalive' }
    if (this.#refused) this.#complain(`${payload.length} bytes after an answer other than 2xx`)
    return { kind: 'payload', bytes: payload }
  }

  #connect(payload: Buffer): Upload | undefined {
    const head = payload.toString('latin1')
    if (payload.length === 0) {
      this.#complain('a keepalive before the CONNECT')
      return undefined
    }
    this.#connected = true
    const [, authority] =
      /^CONNECT ([a-z0-9.-]+:[1-9][0-9]{0,4}|\[[0-9a-f:.]+\]:[1-9][0-9]{0,4}) /.exec(head) ?? []
    if (authority === undefined || head !== `CONNECT ${authority}${this.#expectedTail}`) {
      this.#complain('a first chunk that is not exactly the CONNECT head')
      return undefined
    }
    return { kind: 'connect', authority }
  }
}
