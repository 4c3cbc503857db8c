/**
 * Connections to origins.
 *
 * Rule 1: a connection is made to an address that addresses.ts allows, after the look-up that is used: a name cannot
 *         change its address in between.
 * Rule 2: certificates are verified, against the system's roots and `upstream.caFile`, whatever
 *         NODE_TLS_REJECT_UNAUTHORIZED says; and a request is handed its connection only once that is done, so that no
 *         byte of it exists on an unverified one.
 * Rule 3: connections are kept and used again within one session only: what one session does to a connection cannot
 *         reach another's requests.
 */
import { lookup as systemLookup } from 'node:dns'
import { existsSync, readFileSync } from 'node:fs'
import type { ClientRequest } from 'node:http'
import { Agent, type AgentOptions, request as httpsRequest } from 'node:https'
import { isIP, type LookupFunction } from 'node:net'
import type { Duplex } from 'node:stream'
import { createSecureContext, rootCertificates, type SecureContext, type TLSSocket } from 'node:tls'
import type { Addresses } from './addresses.js'
import type { Limits } from './limits.js'
import { errorText } from './log.js'
import type { Destination } from './policy.js'
import type { ReasonCode } from './reasons.js'

/** The way to an origin failed. The detail is a code of the system or of OpenSSL, or the gateway's own words. */
export class OriginError extends Error {
  override readonly name = 'OriginError'
  readonly reason: ReasonCode
  readonly detail: string | undefined

  constructor(reason: ReasonCode, detail?: string, cause?: unknown) {
    super(detail === undefined ? reason : `${reason} (${detail})`, { cause })
    this.reason = reason
    this.detail = detail
  }
}

export interface OriginsOptions {
  readonly extraRoots: string | undefined
  /** addresses of names that are not looked up */
  readonly hosts: ReadonlyMap<string, string>
  readonly addresses: Addresses
  readonly limits: Limits
}

export interface OriginRequest {
  readonly method: string
  readonly target: string
  /** names and values in turn, Host among them */
  readonly headers: readonly string[]
  /** never a connection that was used before */
  readonly fresh?: boolean
}

export class Origins {
  readonly #options: OriginsOptions
  readonly #context: SecureContext
  readonly #pools = new Map<string, OriginAgent>()

  constructor(options: OriginsOptions) {
    this.#options = options
    this.#context = createSecureContext({
      ca: [...systemRoots(), ...(options.extraRoots === undefined ? [] : [options.extraRoots])],
      minVersion: 'TLSv1.2',
    })
  }

  /**
   * Begins a request in a session's pool. Errors come as its 'error' event: an OriginError before there is a
   * connection, Node's own after.
   */
  request(session: string, { host, port }: Destination, request: OriginRequest): ClientRequest {
    const { limits } = this.#options
    return httpsRequest({
      agent: request.fresh ? this.#agent(false) : this.#pool(session),
      host,
      port,
      // Set in any case: Node would take it from the Host header.
      servername: isIP(host) ? '' : host,
      lookup: this.#lookup(port),
      method: request.method,
      path: request.target,
      headers: request.headers,
      maxHeaderSize: limits.maxUpstreamHeadBytes,
      timeout: limits.upstreamIdleMs,
      setHost: false,
      insecureHTTPParser: false,
    })
  }

  /** Why an address that a client named outright may not be connected to; undefined where it may, or is a name. */
  refusalOf({ host, port }: Destination): 'address-refused' | 'gateway-itself' | undefined {
    if (isIP(host) === 0) return undefined
    const verdict = this.#options.addresses.verdict(host, port)
    return verdict === 'allowed' ? undefined : verdict
  }

  close(): void {
    for (const pool of this.#pools.values()) pool.destroy()
    this.#pools.clear()
  }

  #pool(session: string): OriginAgent {
    const known = this.#pools.get(session)
    if (known) return known
    const pool = this.#agent(true)
    this.#pools.set(session, pool)
    return pool
  }

  #agent(keepAlive: boolean): OriginAgent {
    const { limits } = this.#options
    return new OriginAgent(limits.connectMs, this, {
      keepAlive,
      maxFreeSockets: limits.maxIdleUpstream,
      timeout: limits.upstreamKeepAliveMs,
      secureContext: this.#context,
      rejectUnauthorized: true,
      ALPNProtocols: ['http/1.1'],
    })
  }

  #lookup(port: number): LookupFunction {
    return (name, options, callback) => {
      const answer = (error: Error | null, found: { address: string; family: number }[]) => {
        if (error) return callback(error as NodeJS.ErrnoException, [])
        const verdicts = found.map(({ address }) => this.#options.addresses.verdict(address, port))
        const allowed = found.filter((_, i) => verdicts[i] === 'allowed')
        if (allowed.length === 0) {
          const reason = verdicts.includes('gateway-itself') ? 'gateway-itself' : 'address-refused'
          return callback(new OriginError(reason), [])
        }
        if (options.all) return callback(null, allowed)
        return callback(null, allowed[0]!.address, allowed[0]!.family)
      }
      const fixed = this.#options.hosts.get(name)
      if (fixed !== undefined) return answer(null, [{ address: fixed, family: isIP(fixed) }])
      return systemLookup(name, { all: true, verbatim: true }, answer)
    }
  }
}

type ConnectionCallback = (error: Error | null, socket?: Duplex) => void
type Connectable = { createConnection(options: object): TLSSocket }

// Hands out connections that are verified, or a reason why there is none.
class OriginAgent extends Agent {
  readonly #connectMs: number
  readonly #origins: Origins

  constructor(connectMs: number, origins: Origins, options: AgentOptions & { secureContext: SecureContext }) {
    super(options)
    this.#connectMs = connectMs
    this.#origins = origins
  }

  // @ts-expect-error Node's documented signature (options, callback) is not in the types of https.Agent.
  createConnection(options: Destination & object, callback: ConnectionCallback): undefined {
    const refused = this.#origins.refusalOf(options)
    if (refused) {
      process.nextTick(callback, new OriginError(refused))
      return
    }
    const socket = (Agent.prototype as unknown as Connectable).createConnection.call(this, options)
    let connected = false
    const deadline = setTimeout(() => {
      socket.destroy(new OriginError('upstream-timeout', connected ? 'TLS handshake' : 'connect'))
    }, this.#connectMs)
    const settle = (error: Error | null) => {
      clearTimeout(deadline)
      socket.removeListener('error', fail)
      socket.removeListener('close', end)
      callback(error, error ? undefined : socket)
    }
    const fail = (error: Error) => {
      settle(connectionError(error, connected))
      // Whatever else may come of it has been told.
      socket.on('error', () => socket.destroy())
    }
    const end = () => fail(new OriginError('upstream-unreachable', 'closed'))
    socket.once('connect', () => {
      connected = true
    })
    socket.once('secureConnect', () => settle(null))
    socket.once('error', fail)
    socket.once('close', end)
  }
}

function connectionError(error: Error, connected: boolean): OriginError {
  if (error instanceof OriginError) return error
  const code = errorText(error)
  if (connected)
    return new OriginError(CERTIFICATE_CODES.has(code) ? 'upstream-certificate' : 'upstream-tls', code, error)
  const nameless = 'syscall' in error && String(error.syscall).startsWith('getaddrinfo')
  return new OriginError(nameless ? 'name-not-found' : 'upstream-unreachable', code, error)
}

// The machine's own, so that an organisation's roots count; Node's built-in ones where an image ships none.
function systemRoots(): readonly string[] {
  const bundle = SYSTEM_BUNDLES.find((file) => existsSync(file))
  return bundle === undefined ? rootCertificates : [readFileSync(bundle, 'utf8')]
}

const SYSTEM_BUNDLES = [
  '/etc/ssl/certs/ca-certificates.crt',
  '/etc/pki/tls/certs/ca-bundle.crt',
  '/etc/ssl/ca-bundle.pem',
  '/etc/ssl/cert.pem',
]

// What OpenSSL's verification says (Node's documentation, "X509 certificate error codes").
const CERTIFICATE_CODES = new Set([
  'CERT_CHAIN_TOO_LONG',
  'CERT_HAS_EXPIRED',
  'CERT_NOT_YET_VALID',
  'CERT_REJECTED',
  'CERT_REVOKED',
  'CERT_SIGNATURE_FAILURE',
  'CERT_UNTRUSTED',
  'DEPTH_ZERO_SELF_SIGNED_CERT',
  'ERR_TLS_CERT_ALTNAME_INVALID',
  'ERROR_IN_CERT_NOT_AFTER_FIELD',
  'ERROR_IN_CERT_NOT_BEFORE_FIELD',
  'HOSTNAME_MISMATCH',
  'INVALID_CA',
  'INVALID_PURPOSE',
  'PATH_LENGTH_EXCEEDED',
  'SELF_SIGNED_CERT_IN_CHAIN',
  'UNABLE_TO_DECODE_ISSUER_PUBLIC_KEY',
  'UNABLE_TO_DECRYPT_CERT_SIGNATURE',
  'UNABLE_TO_GET_ISSUER_CERT',
  'UNABLE_TO_GET_ISSUER_CERT_LOCALLY',
  'UNABLE_TO_VERIFY_LEAF_SIGNATURE',
])
