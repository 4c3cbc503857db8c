/**
 * A strict gateway, a relay process that dials it, and clients: what every conformance test stands on. Each test on
 * it ends with the same questions: had the gateway complaints, is a tunnel left over, did a secret show anywhere.
 */
import { randomBytes } from 'node:crypto'
import type { Test } from 'tap'
import type { Limits } from '#src/limits.js'
import { makeCa, makeLeaf } from '../support/certificates.js'
import { eventually } from '../support/deadline.js'
import { type HttpAnswer, RawClient } from '../support/raw-client.js'
import { RelayProcess } from './relay-process.js'
import { ESTABLISHED, type GatewayConnection } from './strict-gateway/connection.js'
import { StrictGateway } from './strict-gateway/gateway.js'

export type Scheme = 'ws' | 'wss'

export interface BenchOptions {
  readonly scheme?: Scheme
  readonly limits?: Partial<Limits>
  /** WebSockets that the relay upgrades in advance */
  readonly prewarm?: number
  /** variables of the relay's environment */
  readonly env?: Readonly<Record<string, string>>
}

export class Bench {
  readonly scheme: Scheme
  readonly gateway: StrictGateway
  readonly relay: RelayProcess
  readonly #t: Test
  readonly #secrets: readonly string[]
  readonly #prewarm: number
  #clients: RawClient[] = []

  static async start(
    t: Test,
    { scheme = 'ws', limits = {}, prewarm = 0, env = {} }: BenchOptions = {},
  ): Promise<Bench> {
    // Fresh ones every time, so that they are found wherever they show.
    const credentials = {
      sessionId: `session-${randomBytes(6).toString('hex')}`,
      token: randomBytes(24).toString('hex'),
    }
    const ca = scheme === 'wss' ? await makeCa({ name: 'gateway roots' }) : undefined
    const leaf = ca && (await makeLeaf(ca))
    const gateway = await StrictGateway.listen({
      ...credentials,
      ...(leaf && { tls: { cert: leaf.certPem, key: leaf.keyPem }, host: 'localhost' }),
    })
    const relay = await RelayProcess.start({
      ...credentials,
      baseUrl: gateway.baseUrl,
      ...(ca && { caPem: ca.certPem }),
      limits,
      prewarm,
      env,
    })
    const { sessionId, token } = credentials
    const secrets = [token, Buffer.from(`${sessionId}:${token}`).toString('base64')]
    const bench = new Bench(t, scheme, gateway, relay, secrets, prewarm)
    t.teardown(async () => {
      try {
        await relay.stop()
      } finally {
        await gateway.close()
      }
    })
    return bench
  }

  private constructor(
    t: Test,
    scheme: Scheme,
    gateway: StrictGateway,
    relay: RelayProcess,
    secrets: string[],
    prewarm: number,
  ) {
    this.#prewarm = prewarm
    this.#t = t
    this.scheme = scheme
    this.gateway = gateway
    this.relay = relay
    this.#secrets = secrets
  }

  /** the token, for a gateway that gives it away */
  get token(): string {
    return this.#secrets[0]!
  }

  /** A test on this bench; it fails where the gateway has complaints, a tunnel stays open, or a secret shows. */
  async test(title: string, body: (t: Test) => Promise<void>): Promise<void> {
    await this.#t.test(`${title} (${this.scheme})`, async (t) => {
      this.gateway.script = undefined
      this.gateway.complaints.length = 0
      this.#clients = []
      try {
        await body(t)
      } finally {
        await this.#settle(t)
      }
    })
  }

  /** A client that has connected and said nothing yet. */
  async client(): Promise<RawClient> {
    const client = await RawClient.connect(this.relay.port)
    this.#clients.push(client)
    return client
  }

  /** A client that has sent a CONNECT, and the bytes behind it in the same write. */
  async dial(authority = 'origin.test:443', early: string | Uint8Array = ''): Promise<RawClient> {
    const client = await this.client()
    client.write(Buffer.concat([Buffer.from(connectHead(authority)), Buffer.from(early as Uint8Array)]))
    return client
  }

  /** A tunnel that waits for the gateway's answer: upgraded, the CONNECT read. */
  async dialled(): Promise<{ client: RawClient; tunnel: GatewayConnection }> {
    const client = await this.dial()
    const tunnel = await this.gateway.next()
    await tunnel.upgrade()
    await tunnel.connect()
    return { client, tunnel }
  }

  /** A tunnel that is open on both sides, its 200 read. */
  async open(authority = 'origin.test:443'): Promise<{ client: RawClient; tunnel: GatewayConnection }> {
    const client = await this.dial(authority)
    const tunnel = await this.gateway.next()
    await tunnel.open()
    await client.inbox.read(ESTABLISHED.length)
    return { client, tunnel }
  }

  /** The code of the last failure in the status document. */
  async lastFailure(): Promise<string | undefined> {
    return (await this.lastFailures(1))[0]
  }

  /** The codes of the last failures (at most 20), sorted: of tunnels that fail together none need be first. */
  async lastFailures(count: number): Promise<string[]> {
    const { failures } = await this.relay.status()
    return failures
      .slice(-count)
      .map(({ code }) => code)
      .sort()
  }

  // Clients that a test has left go first: what they leave behind must go too, by itself.
  async #settle(t: Test): Promise<void> {
    for (const client of this.#clients) client.socket.destroy()
    for (const connection of this.gateway.connections) {
      if (!connection.socket.destroyed) connection.provoked().resume()
    }
    const noneOpen = async () => this.relay.closed || (await this.relay.status()).tunnels.open === 0
    await eventually(noneOpen, 'no tunnel left open')
    // Those that wait for a CONNECT may stay.
    const left = () => this.gateway.connections.filter(({ socket }) => !socket.destroyed).length
    await eventually(() => left() <= this.#prewarm, 'no connection to the gateway left open')
    this.gateway.connections.length = 0
    t.same(this.gateway.complaints, [], 'the gateway has no complaints')
    const shown = [this.relay.stderr, ...this.#clients.map(({ transcript }) => transcript)]
    t.notOk(
      shown.some((text) => this.#secrets.some((secret) => text.includes(secret))),
      'no secret in what the relay said',
    )
  }
}

/** Rows in groups as large as the status document remembers failures. */
export function groups<Row>(rows: readonly Row[]): Row[][] {
  return Array.from({ length: Math.ceil(rows.length / 20) }, (_, i) => rows.slice(i * 20, (i + 1) * 20))
}

export function connectHead(authority: string): string {
  return `CONNECT ${authority} HTTP/1.1\r\nHost: ${authority}\r\n\r\n`
}

/** Asserts an answer of the relay's own: its status, its code in Proxy-Status and body, and that it ends the connection. */
export async function isOwnAnswer(
  t: Test,
  client: RawClient,
  status: number,
  code: string,
  title = code,
): Promise<HttpAnswer> {
  const answer = await client.answer()
  t.equal(answer.status, status, `${title}: ${status}`)
  const proxyStatus = answer.headers['proxy-status'] ?? ''
  t.match(proxyStatus, PROXY_STATUS, `${title}: Proxy-Status`)
  t.equal(PROXY_STATUS.exec(proxyStatus)?.groups?.['details'], code, `${title}: code in Proxy-Status`)
  t.ok(
    PROXY_ERROR_TYPES.has(PROXY_STATUS.exec(proxyStatus)?.groups?.['error'] ?? ''),
    `${title}: RFC 9209 type`,
  )
  t.ok(answer.body.includes(code), `${title}: in the body`)
  t.match(answer.body, /^[^\n]+\n$/, `${title}: one line`)
  t.same(await client.rest(), { bytes: Buffer.alloc(0), ending: 'fin' }, `${title}: nothing else, then FIN`)
  return answer
}

const PROXY_STATUS = /^upstreamproxy; error=(?<error>[a-z_]+); details="(?<details>ERR_[A-Z_]+)"$/
// RFC 9209 §2.3, all of them.
const PROXY_ERROR_TYPES = new Set(
  `dns_timeout dns_error destination_not_found destination_unavailable destination_ip_prohibited
  destination_ip_unroutable connection_refused connection_terminated connection_timeout connection_read_timeout
  connection_write_timeout connection_limit_reached tls_protocol_error tls_certificate_error tls_alert_received
  http_request_error http_request_denied http_response_incomplete http_response_header_section_size
  http_response_header_size http_response_body_size http_response_trailer_section_size
  http_response_trailer_size http_response_transfer_coding http_response_content_coding http_response_timeout
  http_upgrade_failed http_protocol_error proxy_internal_response proxy_internal_error proxy_configuration_error
  proxy_loop_detected`.split(/\s+/),
)
