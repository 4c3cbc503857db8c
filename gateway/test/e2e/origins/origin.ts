/** An HTTPS server on loopback that keeps a note of every request: what the real origins of a test are made of. */
import { once } from 'node:events'
import type { IncomingMessage, ServerResponse } from 'node:http'
import { createServer } from 'node:https'
import type { AddressInfo, Socket } from 'node:net'
import type { Test } from 'tap'

/** What arrived, complete with the headers that the client never sent. */
export interface SeenRequest {
  readonly method: string
  /** as it came, query included */
  readonly path: string
  /** names in lower case, repeated ones joined as Node does */
  readonly headers: Readonly<Record<string, string>>
  /** number of the TLS connection, from 1 */
  readonly connection: number
}

export interface Origin {
  readonly port: number
  /** in the order of their arrival */
  readonly requests: readonly SeenRequest[]
  /** TCP connections that were accepted, whether or not TLS came about */
  connections(): number
  /** calls back at each request, before it is answered */
  onRequest(look: () => void): void
  /** resolves at the next request that arrives */
  nextRequest(): Promise<SeenRequest>
}

export type Handle = (request: IncomingMessage, response: ServerResponse, seen: SeenRequest) => Promise<void>

/** Starts an origin that answers by `handle`; it ends with the test, and a handler that throws fails the test. */
export async function startOrigin(
  t: Test,
  { certPem, keyPem }: { certPem: string; keyPem: string },
  handle: Handle,
): Promise<Origin> {
  const requests: SeenRequest[] = []
  const numbers = new Map<Socket, number>()
  const sockets = new Set<Socket>()
  const server = createServer({ cert: certPem, key: keyPem }, (request, response) => {
    const connection = numbers.get(request.socket) ?? numbers.size + 1
    numbers.set(request.socket, connection)
    const { method = '', url = '' } = request
    const headers = Object.fromEntries(
      Object.entries(request.headers).map(([name, value]) => [name, String(value)]),
    )
    const seen = { method, path: url, headers, connection }
    requests.push(seen)
    server.emit('seen', seen)
    Promise.resolve(handle(request, response, seen)).catch((error) => {
      // A client that has gone away is part of some tests; anything else is a broken origin.
      if (!request.socket.destroyed) t.error(error, `the origin at ${url}`)
      response.destroy()
    })
  })
  let accepted = 0
  server.on('connection', (socket: Socket) => {
    accepted++
    sockets.add(socket)
    socket.on('close', () => sockets.delete(socket))
  })
  server.on('tlsClientError', () => undefined)
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  t.teardown(() => {
    for (const socket of sockets) socket.destroy()
    server.close()
  })
  return {
    port: (server.address() as AddressInfo).port,
    requests,
    connections: () => accepted,
    onRequest: (look) => void server.on('seen', look),
    nextRequest: async () => (await once(server, 'seen'))[0] as SeenRequest,
  }
}
