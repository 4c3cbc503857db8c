/** A server of the `ws` package as gateway, a relay process that dials it, and clients. */
import { once } from 'node:events'
import * as http from 'node:http'
import * as https from 'node:https'
import type { AddressInfo } from 'node:net'
import type { Test } from 'tap'
import WebSocket, { WebSocketServer } from 'ws'
import { decodeChunk, encodeChunk, WIRE_PATHS } from '#src/wire/index.js'
import { connectHead } from '../conformance/bench.js'
import { RelayProcess } from '../conformance/relay-process.js'
import { ESTABLISHED } from '../conformance/strict-gateway/connection.js'
import { makeCa, makeLeaf } from '../support/certificates.js'
import { within } from '../support/deadline.js'
import { RawClient } from '../support/raw-client.js'

export class WsBench {
  readonly relay: RelayProcess
  readonly #waiting: Map<string, (socket: WebSocket) => void>
  #count = 0

  static async start(t: Test, scheme: 'ws' | 'wss'): Promise<WsBench> {
    const ca = scheme === 'wss' ? await makeCa({ name: 'roots' }) : undefined
    const leaf = ca && (await makeLeaf(ca, { dns: ['localhost'] }))
    const server = leaf ? https.createServer({ cert: leaf.certPem, key: leaf.keyPem }) : http.createServer()
    const waiting = new Map<string, (socket: WebSocket) => void>()
    const webSockets = new WebSocketServer({
      server,
      path: WIRE_PATHS.webSocket,
      perMessageDeflate: false,
      maxPayload: 64 * MiB,
    })
    webSockets.on('connection', (socket) => {
      socket.on('error', () => undefined)
      socket.once('message', (message: Buffer) => {
        const [, authority] = /^CONNECT (\S+) /.exec(decodeChunk(message, MiB).toString()) ?? []
        socket.send(encodeChunk(Buffer.from(ESTABLISHED)))
        waiting.get(String(authority))?.(socket)
      })
    })
    server.listen(0, '127.0.0.1')
    await once(server, 'listening')
    const { port } = server.address() as AddressInfo
    const relay = await RelayProcess.start({
      baseUrl: leaf ? `https://localhost:${port}` : `http://127.0.0.1:${port}`,
      sessionId: 'session',
      token: 'token',
      ...(ca && { caPem: ca.certPem }),
    })
    t.teardown(async () => {
      await relay.stop()
      for (const socket of webSockets.clients) socket.terminate()
      server.close()
    })
    return new WsBench(relay, waiting)
  }

  private constructor(relay: RelayProcess, waiting: Map<string, (socket: WebSocket) => void>) {
    this.relay = relay
    this.#waiting = waiting
  }

  /** A tunnel that is open on both sides. */
  async open(authority = `t${this.#count++}.test:443`): Promise<{ client: RawClient; socket: WebSocket }> {
    const accepted = new Promise<WebSocket>((resolve) => this.#waiting.set(authority, resolve))
    const client = await RawClient.connect(this.relay.port)
    client.write(connectHead(authority))
    const socket = await within(accepted, 'the tunnel')
    await client.inbox.read(ESTABLISHED.length)
    return { client, socket }
  }

  /** The code with which the connection is closed. */
  async closing(socket: WebSocket): Promise<number> {
    if (socket.readyState === WebSocket.CLOSED) throw new Error('closed already')
    const [code] = await within(once(socket, 'close'), 'the end of the WebSocket')
    return code as number
  }
}

const MiB = 1024 * 1024
