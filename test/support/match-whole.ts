/**
 * tap's `match` takes an array in a pattern for the beginning of one, so that `[]` matches every array, and `{}` every
 * object: what holds them can say that something is there, never that nothing else is.
 */
import type { Test } from 'tap'

type Asserting = Pick<Test, 'match' | 'same'>

/** As `t.match`, and no array has more in it than its pattern says; nor has an object whose pattern is empty. */
export function matchWhole(t: Asserting, actual: unknown, pattern: unknown, message?: string): boolean {
  const matches = t.match(actual, pattern, ...(message === undefined ? [] : [message]))
  return t.same(excess(actual, pattern, ''), [], `${message ?? 'it'}: and nothing beside`) && matches
}

// What no pattern speaks of, by its place: `lines[1]: "…"`.
function excess(actual: unknown, pattern: unknown, place: string): string[] {
  if (!isObject(actual) || !isObject(pattern) || pattern instanceof RegExp) return []
  const known = Object.keys(pattern)
  const complete = Array.isArray(pattern) || (known.length === 0 && isPlain(pattern))
  const beside = complete ? Object.keys(actual).filter((key) => !known.includes(key)) : []
  return [
    ...beside.map((key) => `${place}[${key}]: ${JSON.stringify(actual[key])}`),
    ...known.flatMap((key) => excess(actual[key], pattern[key], `${place}[${key}]`)),
  ]
}

function isObject(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null
}

function isPlain(value: object): boolean {
  return Object.getPrototypeOf(value) === Object.prototype
}
