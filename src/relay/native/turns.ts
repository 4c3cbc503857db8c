/** Counts the turns of the event loop in which something came, so that what one tunnel takes of a turn can be bounded. */
export class Turns {
  #current = 0
  #willTurn = false
  readonly #turn = (): void => {
    this.#willTurn = false
    this.#current++
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
