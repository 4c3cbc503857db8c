/** A gateway as far as init sees one: something that answers for its CA, in whatever way a test wants. */
import { once } from 'node:events'
import * as http from 'node:http'
import * as https from 'node:https'
import type { AddressInfo } from 'node:net'
import type { CertificateWithKey } from './certificates.js'

export interface CaEndpoint {
  /** base URL, with `localhost` where it speaks TLS */
  readonly url: string
  /** what was asked, in order */
  readonly requests: readonly http.IncomingMessage[]
}

interface Teardown {
  teardown(close: () => void): void
}

/** Listens until the test ends. `answer`: a body sent with status 200, or what to do. */
export async function caEndpoint(
  t: Teardown,
  answer: string | http.RequestListener,
  certificate?: CertificateWithKey,
): Promise<CaEndpoint> {
  const requests: http.IncomingMessage[] = []
  const listener: http.RequestListener = (request, response) => {
    requests.push(request)
    if (typeof answer === 'string') response.end(answer)
    else answer(request, response)
  }
  const server = certificate
    ? https.createServer({ cert: certificate.certPem, key: certificate.keyPem }, listener)
    : http.createServer(listener)
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  t.teardown(() => {
    server.close()
    server.closeAllConnections()
  })
  const { port } = server.address() as AddressInfo
  return { url: certificate ? `https://localhost:${port}` : `http://127.0.0.1:${port}`, requests }
}
