/**
 * A gateway for tests that trusts no relay: its own reading of RFC 6455 and of wire protocol v1, on bare sockets.
 * Tests play its part connection by connection, and assert at the end that it had nothing to complain of.
 */
import * as net from 'node:net'
import * as tls from 'node:tls'
import { within } from '../../support/deadline.js'
import { GatewayConnection } from './connection.js'
import type { Credentials } from './upload.js'

export interface StrictGatewayOptions extends Credentials {
  /** PEM of its certificate and key; absent: plain ws */
  readonly tls?: { readonly cert: string; readonly key: string }
  /** the name that its base URL has (default: 127.0.0.1) */
  readonly host?: string
}

/** Plays the gateway's part on one connection. */
export type Script = (connection: GatewayConnection) => Promise<void>

export class StrictGateway {
  /** what the relay did wrong, in order */
  readonly complaints: string[] = []
  /** all connections so far */
  readonly connections: GatewayConnection[] = []
  /** plays every new connection; without one, they wait for `next` */
  script: Script | undefined
  readonly #options: StrictGatewayOptions
  readonly #server: net.Server
  readonly #secureContext: tls.SecureContext | undefined
  readonly #firstKeys = new Set<string>()
  #unclaimed: GatewayConnection[] = []
  #accepted = 0
  #wake: (() => void) | undefined

  static async listen(options: StrictGatewayOptions): Promise<StrictGateway> {
    const gateway = new StrictGateway(options)
    await new Promise<void>((resolve) => gateway.#server.listen(0, '127.0.0.1', 4096, resolve))
    return gateway
  }

  constructor(options: StrictGatewayOptions) {
    this.#options = options
    this.#secureContext = options.tls && tls.createSecureContext(options.tls)
    this.#server = net.createServer({ noDelay: true }, (raw) => this.#accept(raw))
  }

  get port(): number {
    return (this.#server.address() as net.AddressInfo).port
  }

  get baseUrl(): string {
    return `${this.#secureContext ? 'https' : 'http'}://${this.#host}`
  }

  /** The next connection that no script has taken. */
  async next(): Promise<GatewayConnection> {
    while (this.#unclaimed.length === 0) {
      const woken = new Promise<void>((resolve) => {
        this.#wake = resolve
      })
      await within(woken, 'a connection to the gateway')
    }
    return this.#unclaimed.shift()!
  }

  /** Notes a complaint of the test's own. */
  complain(what: string): void {
    if (this.complaints.length < MAX_COMPLAINTS) this.complaints.push(what)
  }

  /** Drops every connection and stops listening. */
  async close(): Promise<void> {
    const closed = new Promise((resolve) => this.#server.close(resolve))
    for (const connection of this.connections) {
      connection.provoked()
      connection.socket.destroy()
    }
    await closed
  }

  get #host(): string {
    return `${this.#options.host ?? '127.0.0.1'}:${this.port}`
  }

  #accept(raw: net.Socket): void {
    const number = ++this.#accepted
    const complain = (what: string) => this.complain(`connection ${number}: ${what}`)
    const expected = { ...this.#options, host: this.#host }
    const connection = new GatewayConnection(raw, this.#secure(raw, complain), expected, complain)
    this.connections.push(connection)
    void connection.request().then(
      ({ headers }) => this.#judgeKey(headers.get('sec-websocket-key')),
      () => undefined,
    )
    if (this.script) {
      this.script(connection).catch((error: Error) => complain(`the script: ${error.message}`))
    } else {
      this.#unclaimed.push(connection)
      this.#wake?.()
    }
  }

  #secure(raw: net.Socket, complain: (what: string) => void): net.Socket {
    if (!this.#secureContext) return raw
    const { host } = this.#options
    raw.on('error', () => undefined)
    const socket = new tls.TLSSocket(raw, {
      isServer: true,
      secureContext: this.#secureContext,
      SNICallback: (name, done) => {
        if (name !== host) complain(`SNI is ${name}`)
        done(null)
      },
    })
    return socket
  }

  // Each connection's nonce is a fresh one (§4.1).
  #judgeKey(key: string | undefined): void {
    if (key === undefined) return
    if (this.#firstKeys.has(key)) this.complain('a Sec-WebSocket-Key that was used before (§4.1)')
    this.#firstKeys.add(key)
  }
}

const MAX_COMPLAINTS = 50
