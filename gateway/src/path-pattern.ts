/**
 * Paths and the patterns that rules match them with.
 *
 * Rule 1: origins differ in how they read a path: `%2F` is a slash to some and a character to others, `;x=1` a
 *         parameter or a part of the name; some take `/Admin/` for `/admin`. A path has one reading for each
 *         combination, and so has a pattern; like is compared with like.
 * Rule 2: what has no certain reading at all is refused: dot segments in any disguise, doubled slashes, backslashes,
 *         doubled or broken percent-encoding, control characters, bytes that are not UTF-8.
 * Rule 3: this file decides nothing. It says whether all, some or none of the readings match (policy.ts decides), and
 *         what is forwarded is the path as it came.
 * Rule 4: time is bounded by pattern length times path length: no backtracking regular expressions on what a client
 *         sends.
 */

/** How many of a path's readings a pattern matches. */
export type Match = 'all' | 'some' | 'none'

/** Thrown where a path or a pattern cannot be read with certainty; the message says why, and quotes nothing. */
export class PathError extends Error {
  override readonly name = 'PathError'
}

type Segments = readonly string[]

/** A path's readings, in the order of READINGS. */
export class PathReadings {
  readonly all: readonly Segments[]

  /** Takes a path that begins with `/`, without its query. Throws PathError. */
  constructor(path: string) {
    this.all = readings(path)
  }
}

/**
 * `/v1/users/*`: `*` stands for characters within a segment (at least one, where it is the whole segment), `**` for
 * any number of whole segments, none included. A pattern is percent-decoded as a path is.
 */
export class PathPattern {
  readonly text: string
  readonly #readings: readonly Segments[]

  /** Throws PathError. */
  constructor(text: string) {
    if (!text.startsWith('/')) throw new PathError('a path pattern begins with /')
    if (/[?#]/.test(text)) throw new PathError('a path pattern has no query and no fragment')
    if (/%2a/i.test(text)) throw new PathError('an encoded * cannot be told from a pattern')
    if (text.split(/\/|%2f/i).some((segment) => segment.includes('**') && segment !== '**')) {
      throw new PathError('** stands for whole segments: /a/**/b')
    }
    this.text = text
    this.#readings = readings(text)
  }

  matches(path: PathReadings): Match {
    const matching = path.all.filter((segments, i) => matchesSegments(this.#readings[i]!, segments)).length
    if (matching === 0) return 'none'
    return matching === path.all.length ? 'all' : 'some'
  }
}

interface Reading {
  /** an encoded slash separates segments */
  readonly encodedSlash: boolean
  /** `;` and what follows it in a segment is no part of its name */
  readonly parameters: boolean
  /** letter case and a slash at the end mean nothing */
  readonly loose: boolean
}

const READINGS: readonly Reading[] = [false, true].flatMap((encodedSlash) =>
  [false, true].flatMap((parameters) => [false, true].map((loose) => ({ encodedSlash, parameters, loose }))),
)

function readings(path: string): Segments[] {
  if (path.includes('\\') || /%5c/i.test(path)) throw new PathError('a backslash')
  const plain = decodedSegments(path, /\//)
  // Where no slash is encoded, both splits are one.
  const split = /%2f/i.test(path) ? decodedSegments(path, /\/|%2f/i) : plain
  return READINGS.map(({ encodedSlash, parameters, loose }) => {
    let segments = encodedSlash ? split : plain
    if (parameters) segments = segments.map(withoutParameters)
    if (loose) segments = withoutLastEmpty(segments.map((segment) => segment.toLowerCase()))
    return segments
  })
}

function decodedSegments(path: string, separator: RegExp): Segments {
  const segments = path.split(separator).slice(1).map(decoded)
  segments.forEach((segment, i) => {
    const name = withoutParameters(segment)
    if (name === '.' || name === '..') throw new PathError('a dot segment')
    if (name === '' && i < segments.length - 1) throw new PathError('an empty segment')
  })
  return segments
}

function decoded(segment: string): string {
  let text = segment
  if (segment.includes('%')) {
    try {
      text = decodeURIComponent(segment)
    } catch {
      throw new PathError('percent-encoding that is broken or not UTF-8')
    }
    if (/%[0-9a-f]{2}/i.test(text)) throw new PathError('percent-encoding within percent-encoding')
  }
  if (CONTROL.test(text)) throw new PathError('a control character')
  return text
}

function withoutParameters(segment: string): string {
  const at = segment.indexOf(';')
  return at < 0 ? segment : segment.slice(0, at)
}

function withoutLastEmpty(segments: Segments): Segments {
  return segments.at(-1) === '' ? segments.slice(0, -1) : segments
}

function matchesSegments(pattern: Segments, path: Segments): boolean {
  return matchesGlob(pattern, path, '**', (part, segment) => {
    if (part === '*') return segment !== ''
    if (!part.includes('*')) return part === segment
    return matchesGlob([...part], [...segment], '*', (a, b) => a === b)
  })
}

// The usual walk with one point to return to: a later star makes the earlier ones final.
function matchesGlob(
  pattern: Segments,
  text: Segments,
  star: string,
  same: (part: string, unit: string) => boolean,
): boolean {
  let p = 0
  let t = 0
  let starAt = -1
  let starTook = 0
  while (t < text.length) {
    if (pattern[p] === star) {
      starAt = p++
      starTook = t
    } else if (p < pattern.length && same(pattern[p]!, text[t]!)) {
      p++
      t++
    } else if (starAt >= 0) {
      p = starAt + 1
      t = ++starTook
    } else {
      return false
    }
  }
  while (pattern[p] === star) p++
  return p === pattern.length
}

// biome-ignore lint/suspicious/noControlCharactersInRegex: control characters are what it looks for
const CONTROL = /[\x00-\x1f\x7f]/
