/**
 * What a relay counts, in memory that another thread can read while the relay's own is busy, or has gone.
 *
 * Rule 1: one thread writes; whoever reads waits for nobody.
 * Rule 2: a count is one aligned word of 64 bits, which no processor of ours writes in two halves.
 */
import { ERROR_CODES, type ErrorCode } from '../errors.js'

/** A tunnel's end that was not a good one. */
export interface Failure {
  /** ISO 8601 */
  readonly at: string
  readonly code: ErrorCode
}

/** In memory of its own, or in a SharedArrayBuffer of COUNTERS_BYTES. Engines add to it. */
export class Counters {
  readonly #counts: Float64Array
  readonly #times: Float64Array
  readonly #codes: Int32Array
  readonly #failed: Int32Array

  constructor(memory: ArrayBufferLike = new ArrayBuffer(COUNTERS_BYTES)) {
    this.#counts = new Float64Array(memory, 0, COUNTS)
    this.#times = new Float64Array(memory, COUNTS * 8, SLOTS)
    this.#codes = new Int32Array(memory, (COUNTS + SLOTS) * 8, SLOTS)
    this.#failed = new Int32Array(memory, (COUNTS + SLOTS) * 8 + SLOTS * 4, 1)
  }

  get tunnelsOpen(): number {
    return this.#counts[0]!
  }

  set tunnelsOpen(count: number) {
    this.#counts[0] = count
  }

  get tunnelsTotal(): number {
    return this.#counts[1]!
  }

  set tunnelsTotal(count: number) {
    this.#counts[1] = count
  }

  get bytesUp(): number {
    return this.#counts[2]!
  }

  set bytesUp(count: number) {
    this.#counts[2] = count
  }

  get bytesDown(): number {
    return this.#counts[3]!
  }

  set bytesDown(count: number) {
    this.#counts[3] = count
  }

  fail(code: ErrorCode): void {
    const slot = Atomics.load(this.#failed, 0) % SLOTS
    this.#times[slot] = Date.now()
    this.#codes[slot] = CODES.indexOf(code)
    // Last: a slot that is counted is complete.
    Atomics.add(this.#failed, 0, 1)
  }

  /** The last 20 failures, oldest first. */
  failures(): readonly Failure[] {
    const count = Atomics.load(this.#failed, 0)
    const shown = Math.min(count, MAX_FAILURES)
    const failures = Array.from({ length: shown }, (_, index) => {
      const slot = (count - shown + index) % SLOTS
      return { at: new Date(this.#times[slot]!).toISOString(), code: CODES[this.#codes[slot]!]! }
    })
    // Overwritten while they were read: then these are no longer the last.
    return Atomics.load(this.#failed, 0) - count > SLOTS - MAX_FAILURES ? this.failures() : failures
  }
}

const CODES = Object.keys(ERROR_CODES) as ErrorCode[]
const MAX_FAILURES = 20
const COUNTS = 4
// More than are shown: a reader has the time of twelve failures for its copy. A power of two, so that the ring goes on
// evenly where the count of failures begins anew.
const SLOTS = 32

/** Memory that Counters need, in bytes. */
export const COUNTERS_BYTES = (COUNTS + SLOTS) * 8 + (SLOTS + 1) * 4
