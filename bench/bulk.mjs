// Bulk transfer through a relay: its own CPU seconds per GB, ours beside the naive one, up and down, ws and wss.
// Usage: node bench/bulk.mjs [MB per run] [pairs]
import { fork } from 'node:child_process'
import { once } from 'node:events'
import * as http from 'node:http'
import * as https from 'node:https'
import * as net from 'node:net'
import { WebSocketServer } from 'ws'
import { decodeChunk, encodeChunk } from '../dist/wire/index.js'
import { makeCa, makeLeaf } from '../dist-test/support/certificates.js'
import { pairs, row } from './pairs.mjs'

const MB = Number(process.argv[2] ?? 256)
const PAIRS = Number(process.argv[3] ?? 9)
const TOTAL = MB * 1024 * 1024
const block = Buffer.alloc(64 * 1024, 0x61)
const chunk = encodeChunk(block)
const answer = encodeChunk(Buffer.from('HTTP/1.1 200 Connection Established\r\n\r\n'))

console.log(
  `Node ${process.version}, ${MB} MB a run, ${PAIRS} pairs, relay's own CPU seconds per GB (A: ours, B: naive)\n`,
)
console.log('| direction | A | B | ratio A/B (spread) |')
console.log('|---|---|---|---|')
const ca = await makeCa({ name: 'bench' })
const leaf = await makeLeaf(ca, { dns: ['localhost'], ip: ['127.0.0.1'] })
for (const secure of [false, true]) {
  const gateway = await listenGateway(secure && { key: leaf.keyPem, cert: leaf.certPem })
  const url = `${secure ? 'wss' : 'ws'}://127.0.0.1:${gateway.address().port}/v1/code/upstreamproxy/ws`
  const start = (kind) =>
    startRelay({ kind, url, ca: secure ? ca.certPem : undefined, token: 't', sessionId: 's' })
  const [ours, naive] = [await start('ours'), await start('naive')]
  for (const [direction, transfer] of [
    ['up', sendUp],
    ['down', receiveDown],
  ]) {
    const measure = (relay) => async () => {
      const before = await relay.cpu()
      await transfer(relay.port)
      return ((await relay.cpu()) - before) * (1024 / MB)
    }
    row(`${secure ? 'wss' : 'ws'} ${direction}`, await pairs(PAIRS, measure(ours), measure(naive)))
  }
  ours.stop()
  naive.stop()
  gateway.close()
  gateway.closeAllConnections()
}

// A gateway that takes `up` and counts, and sends on `down`; the target's host says which.
async function listenGateway(tlsOptions) {
  const server = tlsOptions ? https.createServer(tlsOptions) : http.createServer()
  const sockets = new WebSocketServer({ server, perMessageDeflate: false })
  sockets.on('connection', (socket) => {
    let received = -1
    socket.on('message', (message) => {
      if (received < 0) {
        received = 0
        socket.send(answer)
        if (message.includes('down.test')) pump(socket, TOTAL / block.length)
        return
      }
      received += decodeChunk(message).length
      if (received >= TOTAL) socket.send(encodeChunk(Buffer.from('done')))
    })
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  return server
}

function pump(socket, chunks) {
  let left = chunks
  const next = () => {
    while (left > 0 && socket.bufferedAmount < 4 * 1024 * 1024) {
      left--
      socket.send(
        chunk,
        left === 0 || socket.bufferedAmount >= 4 * 1024 * 1024 - chunk.length ? next : undefined,
      )
    }
  }
  next()
}

async function sendUp(port) {
  const socket = await connect(port, 'up.test')
  let left = TOTAL
  const write = () => {
    while (left > 0) {
      left -= block.length
      if (!socket.write(block)) return
    }
  }
  socket.on('drain', write)
  write()
  await once(socket, 'data')
  socket.destroy()
}

async function receiveDown(port) {
  const socket = await connect(port, 'down.test')
  let received = 0
  await new Promise((resolve, reject) => {
    socket.on('data', (bytes) => {
      received += bytes.length
      if (received >= TOTAL) resolve()
    })
    socket.on('close', reject)
  })
  socket.destroy()
}

async function connect(port, host) {
  const socket = net.connect(port, '127.0.0.1')
  socket.on('error', () => socket.destroy())
  socket.write(`CONNECT ${host}:443 HTTP/1.1\r\n\r\n`)
  const [head] = await once(socket, 'data')
  const end = head.indexOf('\r\n\r\n') + 4
  if (end < head.length) socket.unshift(head.subarray(end))
  return socket
}

async function startRelay(options) {
  const child = fork(new URL('./relay-process.mjs', import.meta.url))
  child.send(options)
  const [{ port }] = await once(child, 'message')
  const cpu = async () => {
    child.send('cpu')
    const [{ cpu }] = await once(child, 'message')
    return cpu
  }
  return { port, cpu, stop: () => child.kill() }
}
