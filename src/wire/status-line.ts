/**
 * Reads the status code of an HTTP/1.x answer as its bytes pass by (RFC 9112 §4); keeps only the 12 bytes that hold
 * it and changes nothing.
 */
export class StatusLine {
  #text = ''
  #malformed = false

  /** true once the status is known or cannot be */
  get complete(): boolean {
    return this.#malformed || this.#text.length === PATTERN.length
  }

  get malformed(): boolean {
    return this.#malformed
  }

  /** 100 to 599; only where `complete` and not `malformed` */
  get status(): number {
    return Number(this.#text.slice(9))
  }

  push(bytes: Uint8Array): void {
    for (const byte of bytes) {
      if (this.complete) return
      const character = String.fromCharCode(byte)
      if (!PATTERN[this.#text.length]!.test(character)) this.#malformed = true
      else this.#text += character
    }
  }
}

// One test for each byte of `HTTP/1.1 200`.
const PATTERN = [/H/, /T/, /T/, /P/, /\//, /1/, /\./, /[01]/, / /, /[1-5]/, /[0-9]/, /[0-9]/]
