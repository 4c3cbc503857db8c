/**
 * Lines of the log on their way from the relay's thread to the host's, which may be too busy to take them.
 *
 * Rule 1: so many are on their way at once and no more, whatever happens meanwhile; how many were left out is said.
 */

/** Memory that a passage needs, in bytes. */
export const LINE_PASSAGE_BYTES = 4

/** The relay's end. */
export class LineSender {
  readonly #underWay: Int32Array
  readonly #post: (line: string) => void
  readonly #lost: (count: number) => string
  #leftOut = 0

  /** @param lost the line that says how many are missing before it */
  constructor(memory: SharedArrayBuffer, post: (line: string) => void, lost: (count: number) => string) {
    this.#underWay = new Int32Array(memory)
    this.#post = post
    this.#lost = lost
  }

  send(line: string): void {
    if (Atomics.load(this.#underWay, 0) >= MOST_UNDER_WAY) {
      this.#leftOut++
      return
    }
    if (this.#leftOut > 0) this.#pass(this.#lost(this.#leftOut))
    this.#leftOut = 0
    this.#pass(line)
  }

  #pass(line: string): void {
    Atomics.add(this.#underWay, 0, 1)
    this.#post(line)
  }
}

/** The host's end: takes note that a line has come. */
export function lineTaken(memory: SharedArrayBuffer): void {
  Atomics.sub(new Int32Array(memory), 0, 1)
}

const MOST_UNDER_WAY = 1_000
