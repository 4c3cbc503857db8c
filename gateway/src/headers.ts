/**
 * Which headers cross the gateway (RFC 9110 §7.6.1).
 *
 * Rule 1: what belongs to one connection stays there: the hop-by-hop headers, what Connection names, and every Proxy-*.
 * Rule 2: framing is written anew, never copied: only Content-Length is taken over, after it was checked.
 * Rule 3: a header that is injected appears once, with the configured value: the client's own copies go, in the head and
 *         in the trailers.
 */
import type { InjectedHeader } from './policy.js'

/** Names and values in turn, as Node's `rawHeaders` has them and `writeHead` takes them. */
export type RawHeaders = readonly string[]

/** Headers for the origin. `authority` is what Host says; `chunked` whether a body of unknown length follows. */
export function headersForOrigin(
  raw: RawHeaders,
  { authority, chunked, set }: { authority: string; chunked: boolean; set: readonly InjectedHeader[] },
): string[] {
  const dropped = new Set(['host', ...set.map(({ name }) => name)])
  return [
    'Host',
    authority,
    ...endToEnd(raw, dropped),
    ...(chunked ? ['Transfer-Encoding', 'chunked'] : []),
    ...set.flatMap(({ name, value }) => [name, value.reveal()]),
  ]
}

/** Headers of a response for the client. */
export function headersForClient(raw: RawHeaders): string[] {
  return endToEnd(raw, NONE)
}

/** Trailers in the pairs that `addTrailers` takes, without framing and what was injected. */
export function trailerPairs(raw: RawHeaders, set: readonly InjectedHeader[]): [string, string][] {
  const kept = endToEnd(raw, new Set(['host', 'content-length', ...set.map(({ name }) => name)]))
  return pairs(kept)
}

/** All values of a header, in order. */
export function valuesOf(raw: RawHeaders, name: string): string[] {
  return pairs(raw)
    .filter(([key]) => key.toLowerCase() === name)
    .map(([, value]) => value)
}

function endToEnd(raw: RawHeaders, dropped: ReadonlySet<string>): string[] {
  const named = new Set(valuesOf(raw, 'connection').flatMap((value) => value.toLowerCase().split(/[\s,]+/)))
  return pairs(raw)
    .filter(([key]) => {
      const name = key.toLowerCase()
      // Connection cannot name away what frames the body.
      if (name === 'content-length') return !dropped.has(name)
      return !dropped.has(name) && !named.has(name) && !HOP_BY_HOP.has(name) && !name.startsWith('proxy-')
    })
    .flat()
}

function pairs(raw: RawHeaders): [string, string][] {
  const found: [string, string][] = []
  for (let i = 0; i + 1 < raw.length; i += 2) found.push([raw[i]!, raw[i + 1]!])
  return found
}

const NONE: ReadonlySet<string> = new Set()
const HOP_BY_HOP = new Set(['connection', 'keep-alive', 'te', 'transfer-encoding', 'upgrade'])
