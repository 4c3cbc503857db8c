/**
 * Whether a request inside a tunnel is one that may be looked at further, from its head alone.
 *
 * Rule 1: the host of the CONNECT, the TLS server name (where one was sent), and the Host of every request are one and
 *         the same, port included: what policy and certificate were chosen for is where the request goes.
 * Rule 2: Node's parser has read the message; what it lets through and a stricter one would not is refused here.
 * Rule 3: nothing is repaired.
 */
import { parseAuthority } from 'upstreamproxy/wire'
import { type RawHeaders, valuesOf } from './headers.js'
import type { Destination } from './policy.js'
import type { ReasonCode } from './reasons.js'

export interface RequestFacts {
  readonly method: string
  /** request target as it came */
  readonly target: string
  readonly rawHeaders: RawHeaders
  /** TLS server name; false or null where none was sent */
  readonly serverName: string | false | null
}

export type CheckedRequest =
  | {
      readonly ok: true
      /** origin form: begins with `/` */
      readonly target: string
      /** the target without its query */
      readonly path: string
      readonly body: 'none' | 'length' | 'chunked'
      readonly expectContinue: boolean
    }
  | { readonly ok: false; readonly reason: ReasonCode; readonly detail?: string }

/** Checks a request against the destination of its tunnel's CONNECT. */
export function checkRequest(facts: RequestFacts, destination: Destination): CheckedRequest {
  const { method, rawHeaders, serverName } = facts
  if (serverName && canonicalName(serverName) !== destination.host) return refused('sni-mismatch')
  const hosts = valuesOf(rawHeaders, 'host')
  if (hosts.length !== 1) return refused('host-missing', `${hosts.length} Host headers`)
  if (!names(hosts[0]!, destination)) return refused('host-mismatch')
  if (method === 'TRACE' || method === 'CONNECT') return refused('method-unsupported')
  if (valuesOf(rawHeaders, 'upgrade').length > 0) return refused('upgrade-unsupported')

  const target = originForm(facts.target, destination)
  if (typeof target !== 'string') return target
  const codings = valuesOf(rawHeaders, 'transfer-encoding')
  const lengths = valuesOf(rawHeaders, 'content-length')
  if (codings.length > 1 || (codings.length === 1 && codings[0]!.toLowerCase() !== 'chunked')) {
    return refused('transfer-coding-unsupported')
  }
  if (lengths.length > 1 || (lengths.length === 1 && codings.length === 1)) {
    return refused('request-malformed', 'more than one length for one body')
  }
  if (lengths.length === 1 && !/^\d{1,15}$/.test(lengths[0]!)) {
    return refused('request-malformed', 'a Content-Length that is no length')
  }
  const expectations = valuesOf(rawHeaders, 'expect')
  if (expectations.some((value) => value.toLowerCase() !== '100-continue')) {
    return refused('expectation-unsupported')
  }
  return {
    ok: true,
    target,
    path: target.split('?', 1)[0]!,
    body: codings.length === 1 ? 'chunked' : lengths.length === 1 ? 'length' : 'none',
    expectContinue: expectations.length > 0,
  }
}

/** What Host says for a destination: the port only where it is not the one of https. */
export function hostHeader({ host, port }: Destination): string {
  const name = host.includes(':') ? `[${host}]` : host
  return port === HTTPS_PORT ? name : `${name}:${port}`
}

// An absolute-form target must be accepted by a server (RFC 9112 §3.2.2); it must name the same place.
function originForm(target: string, destination: Destination): string | CheckedRequest {
  if (!/^[\x21-\x7e]+$/.test(target) || target.includes('#')) return refused('target-malformed')
  if (target.startsWith('/')) return target
  const absolute = /^https:\/\/([^/?]*)(.*)$/i.exec(target)
  if (!absolute) return refused('target-malformed')
  if (!names(absolute[1]!, destination)) return refused('host-mismatch')
  return absolute[2]!.startsWith('/') ? absolute[2]! : `/${absolute[2]}`
}

function names(text: string, { host, port }: Destination): boolean {
  const withPort = /:\d*$/.test(text) ? text : `${text}:${HTTPS_PORT}`
  try {
    const authority = parseAuthority(withPort)
    return authority.host === host && authority.port === port
  } catch {
    // What is not host:port names nothing.
    return false
  }
}

function canonicalName(name: string): string {
  return name.toLowerCase().replace(/\.$/, '')
}

function refused(reason: ReasonCode, detail?: string): CheckedRequest {
  return { ok: false, reason, ...(detail !== undefined && { detail }) }
}

const HTTPS_PORT = 443
