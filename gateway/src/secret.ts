/** Values that may appear in the headers that carry them, and nowhere else. */
import { inspect } from 'node:util'

/** Wraps a secret so that printing, serialising or inspecting it shows `<redacted>`; `reveal()` is the only way in. */
export class Secret {
  readonly #value: string

  constructor(value: string) {
    this.#value = value
  }

  /** The secret itself: for the header, the digest or the TLS context that needs it. */
  reveal(): string {
    return this.#value
  }

  toString(): string {
    return '<redacted>'
  }

  toJSON(): string {
    return '<redacted>'
  }

  [inspect.custom](): string {
    return '<redacted>'
  }
}
