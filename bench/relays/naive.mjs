// The relay that most would write first: `ws` (with bufferutil, where it is installed beside it) and `node:net`, no
// backpressure, no limits. A baseline, nothing else. Prints {"port":N}.
//   node naive.mjs '{"url":…,"caFile":…,"modules":FOLDER,"shared":false}'
// With `shared` it has one TLS context and one agent for all connections, as who has read the documentation would.
import { readFileSync } from 'node:fs'
import * as https from 'node:https'
import { createRequire } from 'node:module'
import * as net from 'node:net'
import * as tls from 'node:tls'
import { decodeChunk, encodeChunk } from '../../dist/wire/index.js'

const { url, caFile, modules, shared } = JSON.parse(process.argv[2])
const { WebSocket } = createRequire(`${modules}/package.json`)('ws')
const address = `${url.replace(/^http/, 'ws')}/v1/code/upstreamproxy/ws`
const ca = readFileSync(caFile)
const agent =
  shared && url.startsWith('https')
    ? new https.Agent({ secureContext: tls.createSecureContext({ ca }) })
    : undefined
const credentials = Buffer.from('s:t').toString('base64')

const server = net.createServer({ noDelay: true }, (client) => {
  client.once('data', (head) => {
    const target = /^CONNECT (\S+)/.exec(head.toString('latin1'))?.[1]
    const gateway = new WebSocket(address, {
      ...(agent ? { agent } : { ca }),
      perMessageDeflate: false,
      headers: { Authorization: 'Bearer t', 'Content-Type': 'application/proto' },
    })
    gateway.on('open', () => {
      gateway.send(
        encodeChunk(
          Buffer.from(`CONNECT ${target} HTTP/1.1\r\nProxy-Authorization: Basic ${credentials}\r\n\r\n`),
        ),
      )
      client.on('data', (bytes) => gateway.send(encodeChunk(bytes)))
    })
    gateway.on('message', (message) => client.write(decodeChunk(message)))
    gateway.on('close', () => client.end())
    gateway.on('error', () => client.destroy())
    client.on('close', () => gateway.close())
  })
  client.on('error', () => client.destroy())
})
server.listen({ host: '127.0.0.1', port: 0, backlog: 4096 }, () => {
  console.log(JSON.stringify({ port: server.address().port }))
  process.stdin.resume()
  process.stdin.once('end', () => process.exit())
})
