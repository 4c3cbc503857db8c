/** The real origin of the demo: an HTTPS server that tells what it got, and asks to see a key. */
import { once } from 'node:events'
import type { IncomingMessage } from 'node:http'
import { createServer } from 'node:https'
import type { AddressInfo } from 'node:net'

export interface Arrival {
  readonly method: string
  readonly path: string
  /** as they came, name and value */
  readonly headers: readonly (readonly [name: string, value: string])[]
  readonly at: number
}

export interface DemoOrigin {
  readonly port: number
  /** requests, in the order of their arrival */
  readonly arrivals: readonly Arrival[]
  /** called at each request, before it is answered: the client is waiting then */
  onArrival: () => void
  close(): Promise<void>
}

/** Starts it on loopback; it answers 200 to who has `Bearer key`, 401 to others, and never says the key. */
export async function startDemoOrigin(
  { cert, key: tlsKey }: { cert: string; key: string },
  key: string,
): Promise<DemoOrigin> {
  const arrivals: Arrival[] = []
  const server = createServer({ cert, key: tlsKey }, (request, response) => {
    const arrival = arrivalOf(request)
    arrivals.push(arrival)
    origin.onArrival()
    const known = request.headers.authorization === `Bearer ${key}`
    const name = new URL(arrival.path, 'https://origin').searchParams.get('name') ?? 'you'
    const answer = known ? { hello: name, key: 'accepted' } : { error: 'no key, no answer' }
    const body = `${JSON.stringify(answer)}\n`
    response.writeHead(known ? 200 : 401, {
      'content-type': 'application/json',
      'content-length': body.length,
    })
    response.end(body)
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const origin: DemoOrigin = {
    port: (server.address() as AddressInfo).port,
    arrivals,
    onArrival: () => undefined,
    async close() {
      const closed = once(server, 'close')
      server.close()
      server.closeAllConnections()
      await closed
    },
  }
  return origin
}

function arrivalOf({ method = '', url = '', rawHeaders }: IncomingMessage): Arrival {
  const headers: [string, string][] = []
  for (let i = 0; i < rawHeaders.length; i += 2) headers.push([rawHeaders[i]!, rawHeaders[i + 1]!])
  return { method, path: url, headers, at: performance.now() }
}
