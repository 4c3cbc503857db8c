/** Real HTTPS origins on loopback. */
import type { IncomingMessage, RequestListener, ServerResponse } from 'node:http'
import { createServer } from 'node:https'
import type { AddressInfo, Socket } from 'node:net'
import type { Test } from 'tap'
import type { TestPki } from './pki.js'

export interface TestOrigin {
  readonly port: number
  /** `origin.test:PORT` */
  readonly authority: string
  /** requests that came, with their raw headers */
  readonly requests: { method: string; url: string; rawHeaders: string[] }[]
  /** TCP connections that came */
  readonly connections: Socket[]
}

export interface TestOriginOptions {
  readonly host?: string
  /** default: 127.0.0.1 */
  readonly address?: string
  readonly certificate?: { cert: string; key: string }
  readonly serve?: (request: IncomingMessage, response: ServerResponse) => void
}

/** Answers 200 with what it got, in JSON, unless `serve` says otherwise. */
export async function testOrigin(
  t: Test,
  pki: TestPki,
  options: TestOriginOptions = {},
): Promise<TestOrigin> {
  const { host = 'origin.test', serve = echo } = options
  const requests: TestOrigin['requests'] = []
  const connections: Socket[] = []
  const listener: RequestListener = (request, response) => {
    requests.push({ method: request.method ?? '', url: request.url ?? '', rawHeaders: request.rawHeaders })
    serve(request, response)
  }
  const server = createServer(
    { ...(options.certificate ?? (await pki.leaf(host))), minVersion: 'TLSv1.2' },
    listener,
  )
  server.on('connection', (socket: Socket) => connections.push(socket))
  server.on('tlsClientError', () => undefined)
  await new Promise<void>((resolve) => server.listen(0, options.address ?? '127.0.0.1', resolve))
  t.teardown(() => {
    server.closeAllConnections()
    server.close()
  })
  const { port } = server.address() as AddressInfo
  return {
    port,
    authority: host.includes(':') ? `[${host}]:${port}` : `${host}:${port}`,
    requests,
    connections,
  }
}

function echo(request: IncomingMessage, response: ServerResponse): void {
  const pieces: Buffer[] = []
  request.on('data', (piece: Buffer) => pieces.push(piece))
  request.on('end', () => {
    const { method, url, headers } = request
    response.setHeader('Content-Type', 'application/json')
    response.end(JSON.stringify({ method, url, headers, body: Buffer.concat(pieces).toString() }))
  })
}
