/**
 * Stands in for curl where there is none: GET through the proxy of HTTPS_PROXY, told on stderr as `curl -v` tells it.
 * Node of this range has no proxy support of its own, so the CONNECT is made by hand.
 */
import { once } from 'node:events'
import { type IncomingMessage, request } from 'node:http'
import { get } from 'node:https'
import type { Socket } from 'node:net'
import { text } from 'node:stream/consumers'
import { connect as connectTls } from 'node:tls'

const [, , target = ''] = process.argv
const url = new URL(target)
const proxy = new URL(process.env['HTTPS_PROXY'] ?? 'http://127.0.0.1:9')
const authority = `${url.hostname}:${url.port || 443}`

const connecting = request({ host: proxy.hostname, port: proxy.port, method: 'CONNECT', path: authority })
connecting.end()
const [answer, socket] = (await once(connecting, 'connect')) as [IncomingMessage, Socket]
if (answer.statusCode !== 200) throw new Error(`the proxy answered ${answer.statusCode}`)

const tls = connectTls({ socket, servername: url.hostname })
await once(tls, 'secureConnect')
const { issuer } = tls.getPeerCertificate()
process.stderr.write(`*  issuer: CN=${issuer.CN}\n`)

// No agent: with one, the connection would be the agent's own.
const asking = get(url, { createConnection: () => tls })
const [response] = (await once(asking, 'response')) as [IncomingMessage]
const head = [
  `GET ${url.pathname}${url.search} HTTP/1.1`,
  ...Object.entries(asking.getHeaders()).map(headerLine),
]
process.stderr.write(head.map((line) => `> ${line}\n`).join(''))
process.stdout.write(await text(response))
process.exitCode = response.statusCode === 200 ? 0 : 1

function headerLine([name, value]: [string, unknown]): string {
  return `${name}: ${String(value)}`
}
