/**
 * Authority-form targets (RFC 9112 §3.2.3): `host:port`, nothing else.
 *
 * Rule 1: a host is a DNS name, a dotted IPv4 address, or a bracketed IPv6 address; what is none of them to the
 *         letter is refused, so that no two parsers can read one target in two ways.
 * Rule 2: the port is required, decimal, 1 to 65535, without a leading zero.
 * Rule 3: the canonical form is lower case, without a trailing dot, IPv6 as RFC 5952 writes it. Canonicalising a
 *         canonical form changes nothing.
 */
import { ProxyError } from '../errors.js'

export interface Authority {
  /** canonical host; an IPv6 address stands without its brackets */
  readonly host: string
  readonly port: number
  /** canonical `host:port`, an IPv6 host in brackets */
  readonly authority: string
}

/** Parses and canonicalises an authority. Throws ERR_CONNECT_TARGET. */
export function parseAuthority(text: string): Authority {
  const match = /^(\[[^[\]]*\]|[^[\]:]*):([0-9]*)$/.exec(text)
  if (!match) throw refused('expected host:port', hintFor(text))
  const port = parsePort(match[2]!)
  const written = match[1]!
  if (written.startsWith('[')) {
    const host = parseIPv6(written)
    return { host, port, authority: `[${host}]:${port}` }
  }
  const host = parseName(written)
  return { host, port, authority: `${host}:${port}` }
}

/** Canonical DNS name or dotted IPv4 address. Throws ERR_CONNECT_TARGET. */
export function parseName(written: string): string {
  const host = written.toLowerCase().replace(/\.$/, '')
  if (host.length === 0) throw refused('the host is empty')
  if (host.length > MAX_NAME_LENGTH) throw refused(`the host is longer than ${MAX_NAME_LENGTH} characters`)
  const labels = host.split('.')
  if (!labels.every((label) => LABEL.test(label))) throw refused('the host is not a DNS name or an address')
  // A name whose last label is a number reads as an IPv4 address to many resolvers (`127.1`, `0x7f.1`,
  // `2130706433`): only the plain dotted form is one (WHATWG URL §3.5, "ends in a number").
  if (!NUMERIC_LABEL.test(labels.at(-1)!)) return host
  const dotted = labels.length === 4 && labels.every((label) => OCTET.test(label))
  if (!dotted || written.endsWith('.'))
    throw refused('the host ends in a number but is no dotted IPv4 address')
  return host
}

function parseIPv6(bracketed: string): string {
  if (!/^\[[0-9A-Fa-f:.]{2,45}\]$/.test(bracketed)) throw refused('the IPv6 address is malformed')
  try {
    return new URL(`http://${bracketed}/`).hostname.slice(1, -1)
  } catch (cause) {
    throw new ProxyError('ERR_CONNECT_TARGET', 'the IPv6 address is malformed', { cause })
  }
}

function parsePort(digits: string): number {
  if (!/^[1-9][0-9]{0,4}$/.test(digits)) throw refused('expected a port from 1 to 65535')
  const port = Number(digits)
  if (port > 65535) throw refused('expected a port from 1 to 65535')
  return port
}

function hintFor(text: string): string | undefined {
  if (text.includes('@')) return 'a CONNECT target carries no user name or password'
  if (text.includes('://')) return 'a CONNECT target is host:port, not a URL'
  if (!/:[0-9]+$/.test(text)) return 'name the port: host:443'
  return undefined
}

function refused(message: string, hint?: string): ProxyError {
  return new ProxyError('ERR_CONNECT_TARGET', message, hint === undefined ? {} : { hint })
}

const MAX_NAME_LENGTH = 253
// Underscores are no part of host names but are in use and resolve.
const LABEL = /^[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?$/
const NUMERIC_LABEL = /^(?:[0-9]+|0x[0-9a-f]*)$/
const OCTET = /^(?:0|[1-9][0-9]?|1[0-9]{2}|2[0-4][0-9]|25[0-5])$/
