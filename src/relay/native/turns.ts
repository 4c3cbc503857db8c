/**
 * The turns of the event loop in which something came: so that what one tunnel takes of a turn can be bounded, and what was
 * gathered in it goes out at its end.
 */
export class Turns {
  #current = 0
  #willTurn = false
  readonly #atEnd: () => void
  readonly #turn = (): void => {
    this.#willTurn = false
    this.#atEnd()
    this.#current++
  }

  /** @param atEnd is called at the end of each such turn */
  constructor(atEnd: () => void) {
    this.#atEnd = atEnd
  }

  /** the number of the turn that runs */
  now(): number {
    if (!this.#willTurn) {
      this.#willTurn = true
      setImmediate(this.#turn)
    }
    return this.#current
  }
}
