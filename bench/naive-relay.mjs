// The relay that most would write first: `ws` and `node:net`, no backpressure, no limits. A baseline, nothing else.
import * as net from 'node:net'
import WebSocket from 'ws'
import { decodeChunk, encodeChunk } from '../dist/wire/index.js'

/** Listens on a free loopback port; resolves with it. */
export function listenNaive({ url, ca, token, sessionId }) {
  const server = net.createServer((client) => {
    client.once('data', (head) => {
      const target = /^CONNECT (\S+)/.exec(head.toString('latin1'))?.[1]
      const gateway = new WebSocket(url, {
        ca,
        perMessageDeflate: false,
        headers: { Authorization: `Bearer ${token}`, 'Content-Type': 'application/proto' },
      })
      const credentials = Buffer.from(`${sessionId}:${token}`).toString('base64')
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
  return new Promise((resolve) => server.listen(0, '127.0.0.1', () => resolve(server.address().port)))
}
