/** The session token: held in the heap only, printed never (invariant 2). */
import { inspect } from 'node:util'

/** Wraps a secret so that printing, serialising or inspecting it shows `<redacted>`; `reveal()` is the only way in. */
export class Token {
  readonly #value: string

  constructor(value: string) {
    this.#value = value
  }

  /** The secret itself: for the headers that carry it, and nothing else. */
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
