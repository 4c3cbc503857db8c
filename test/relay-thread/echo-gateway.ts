/** A gateway over TLS that hands out its CA, answers every CONNECT with 200, and sends back what comes. */
import { once } from 'node:events'
import { writeFileSync } from 'node:fs'
import { createServer } from 'node:https'
import type { AddressInfo } from 'node:net'
import { join } from 'node:path'
import type { Test } from 'tap'
import { WebSocketServer } from 'ws'
import { decodeChunk, encodeChunk, WIRE_PATHS } from '#src/wire/index.js'
import { makeCa, makeLeaf } from '../support/certificates.js'

/** What the token file holds. */
export const CANARY = 'canary-90d3b2f7ae'

export interface EchoGateway {
  readonly baseUrl: string
  /** file of the CA that vouches for it */
  readonly caFile: string
  readonly caPem: string
  /** Authorization headers of the upgrades, in order */
  readonly authorizations: readonly (string | undefined)[]
}

/** Listens until the test ends. `folder` takes its files. */
export async function echoGateway(t: Test, folder: string): Promise<EchoGateway> {
  const { ca, leaf } = await certificates
  const authorizations: (string | undefined)[] = []
  const server = createServer({ cert: leaf.certPem, key: leaf.keyPem }, (request, response) => {
    response.statusCode = request.url === WIRE_PATHS.caCert ? 200 : 404
    response.end(ca.certPem)
  })
  const webSockets = new WebSocketServer({ server, path: WIRE_PATHS.webSocket, perMessageDeflate: false })
  webSockets.on('connection', (socket, request) => {
    authorizations.push(request.headers.authorization)
    let isOpen = false
    socket.on('message', (message: Buffer) => {
      const bytes = Buffer.from(decodeChunk(message))
      if (bytes.length === 0) return
      socket.send(encodeChunk(isOpen ? bytes : Buffer.from(ESTABLISHED)))
      isOpen = true
    })
    // How a tunnel breaks is for its client to say.
    socket.on('error', () => undefined)
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  t.teardown(() => {
    for (const client of webSockets.clients) client.terminate()
    server.close()
    server.closeAllConnections()
  })
  const caFile = join(folder, 'gateway.pem')
  writeFileSync(caFile, ca.certPem)
  const { port } = server.address() as AddressInfo
  return { baseUrl: `https://localhost:${port}`, caFile, caPem: ca.certPem, authorizations }
}

export const ESTABLISHED = 'HTTP/1.1 200 Connection Established\r\n\r\n'

const certificates = (async () => {
  const ca = await makeCa({ name: 'gateway ca' })
  return { ca, leaf: await makeLeaf(ca) }
})()
