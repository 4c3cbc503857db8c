/** How bytes may be cut on their way: the ways in which every parser is fed. */
import fc from 'fast-check'

/** One byte a piece. */
export function bytewise(bytes: Buffer): Buffer[] {
  return Array.from(bytes, (_, at) => bytes.subarray(at, at + 1))
}

/** The bytes cut at these offsets (taken modulo the length), in order; pieces may be empty. */
export function pieces(bytes: Buffer, cuts: readonly number[]): Buffer[] {
  const ends = [...cuts.map((cut) => cut % (bytes.length + 1)), bytes.length].sort((a, b) => a - b)
  return ends.map((end, index) => bytes.subarray(ends[index - 1] ?? 0, end))
}

/** Every offset from 0 to `length` of a short text; of a long one those near its ends, and samples between. */
export function offsets(length: number): number[] {
  const all = Array.from({ length: length + 1 }, (_, offset) => offset)
  if (length <= 1024) return all
  const stride = Math.max(97, Math.floor(length / 200))
  return all.filter((offset) => offset < 80 || offset > length - 80 || offset % stride === 0)
}

export const anyCuts: fc.Arbitrary<number[]> = fc.array(fc.nat(), { maxLength: 8 })
