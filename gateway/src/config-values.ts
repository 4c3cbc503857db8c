/** Checks of single values of the configuration. Each throws a ValueError that says what was expected and quotes no secret. */
import { isIP } from 'node:net'
import { domainToASCII } from 'node:url'
import { parseName } from 'upstreamproxy/wire'
import { HostPattern } from './policy.js'
import { Secret } from './secret.js'

export class ValueError extends Error {
  override readonly name = 'ValueError'
  readonly hint: string | undefined

  constructor(message: string, hint?: string) {
    super(message)
    this.hint = hint
  }
}

export interface ListenAddress {
  /** an address, or `localhost` */
  readonly host: string
  /** 0: any free one */
  readonly port: number
}

/** `127.0.0.1:8443`, `[::1]:8443`, `localhost:0` */
export function listenAddress(text: string): ListenAddress {
  const match = /^(?:\[([^\]]+)\]|([^:[\]]+)):(\d{1,5})$/.exec(text)
  const host = match?.[1] ?? match?.[2] ?? ''
  const port = Number(match?.[3])
  const known = match?.[1] === undefined ? isIP(host) === 4 || host === 'localhost' : isIP(host) === 6
  if (!match || !known || port > 65535) {
    throw new ValueError(
      'expected ADDRESS:PORT',
      '127.0.0.1:8443, [::1]:8443, or 0.0.0.0:8443 for every interface',
    )
  }
  return { host, port }
}

/** A canonical host: a DNS name in ASCII, or an address (IPv6 with or without brackets). */
export function hostName(text: string): string {
  const bare = text.replace(/^\[(.*)\]$/, '$1')
  if (isIP(bare) === 6) return new URL(`http://[${bare}]/`).hostname.slice(1, -1)
  try {
    return parseName(text)
  } catch {
    const ascii = domainToASCII(text)
    const hint = ascii !== '' && ascii !== text.toLowerCase() ? `write it as ${ascii}` : undefined
    throw new ValueError('expected a host name or an address, without scheme, port or path', hint)
  }
}

/** `api.example.com`, or `*.example.com` */
export function hostPattern(text: string): HostPattern {
  if (!text.includes('*')) return new HostPattern(hostName(text))
  const suffix = /^\*\.([^*]+)$/.exec(text)?.[1]
  if (suffix === undefined) throw new ValueError('expected an exact host or *.suffix')
  const name = hostName(suffix)
  if (isIP(name) !== 0) throw new ValueError('an address matches only itself: no * with it')
  return new HostPattern(`*.${name}`)
}

/** `10.0.0.0/8`, `::1/128`, or a single address */
export function addressRange(text: string): { address: string; prefix: number; family: 'ipv4' | 'ipv6' } {
  const [address = '', prefixText, ...more] = text.split('/')
  const version = address.includes('%') ? 0 : isIP(address)
  const longest = version === 6 ? 128 : 32
  const prefix =
    prefixText === undefined ? longest : /^\d{1,3}$/.test(prefixText) ? Number(prefixText) : Number.NaN
  if (version === 0 || more.length > 0 || !(prefix <= longest)) {
    throw new ValueError('expected an address or a range in CIDR notation', '127.0.0.0/8 or ::1/128')
  }
  return { address, prefix, family: version === 6 ? 'ipv6' : 'ipv4' }
}

/** What a bearer token must be to travel in a header: 1 byte to 4 KiB of visible ASCII. */
export function checkToken(token: Secret): void {
  if (!/^[\x21-\x7e]{1,4096}$/.test(token.reveal())) {
    throw new ValueError('the token is not 1 to 4096 characters of visible ASCII on one line')
  }
}

/** A session id goes in front of a `:` in Basic credentials. */
export function checkSessionId(id: string): void {
  if (!/^[\x21-\x39\x3b-\x7e]{1,256}$/.test(id)) {
    throw new ValueError('a session id is 1 to 256 characters of visible ASCII without a colon')
  }
}

/** Lower case name of a header that a rule may set. */
export function headerName(text: string): string {
  if (!/^[!#$%&'*+.^_`|~0-9A-Za-z-]+$/.test(text)) {
    throw new ValueError('not a header name', 'letters, digits and - are safe everywhere')
  }
  const name = text.toLowerCase()
  if (FRAMING.has(name) || name.startsWith('proxy-')) {
    throw new ValueError(`${name} belongs to the connection or the message's framing and cannot be set`)
  }
  return name
}

/**
 * A header's value from its template: `${secret:NAME}` stands for a secret of the organisation. Checked after the
 * substitution, so that no secret can end the header's line.
 */
export function headerValue(
  template: string,
  secrets: ReadonlyMap<string, Secret | undefined>,
): Secret | undefined {
  let missing = false
  const value = template.replace(/\$\{([^}]*)\}?/g, (whole, inside: string) => {
    const name = /^secret:(.+)$/.exec(inside)?.[1]
    if (name === undefined || !whole.endsWith('}')) {
      // biome-ignore lint/suspicious/noTemplateCurlyInString: this is how it is written in the configuration
      throw new ValueError('only ${secret:NAME} can stand in a header value')
    }
    if (!secrets.has(name)) throw new UnknownSecret(name)
    const secret = secrets.get(name)
    // It has a problem of its own already.
    if (secret === undefined) missing = true
    return secret?.reveal() ?? ''
  })
  if (missing) return undefined
  if (/[\r\n\0]/.test(value))
    throw new ValueError('the value holds a line break or a NUL once its secrets are in')
  if (!/^[\t\x20-\x7e]*$/.test(value))
    throw new ValueError('the value is not visible ASCII once its secrets are in')
  if (value !== value.trim()) {
    throw new ValueError(
      'the value begins or ends with white space once its secrets are in',
      'HTTP would drop it',
    )
  }
  return new Secret(value)
}

/** A template names a secret that the organisation does not have. */
export class UnknownSecret extends ValueError {
  readonly secret: string

  constructor(secret: string) {
    super(`there is no secret ${JSON.stringify(secret)} in this organisation`)
    this.secret = secret
  }
}

const FRAMING = new Set([
  'connection',
  'content-length',
  'expect',
  'host',
  'keep-alive',
  'te',
  'trailer',
  'transfer-encoding',
  'upgrade',
])
