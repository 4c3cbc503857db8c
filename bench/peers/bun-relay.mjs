// A relay on what Bun itself offers: Bun.listen for clients, its WebSocket to the gateway. Prints {"port":N}.
import { readFileSync } from 'node:fs'

const { url, caFile } = JSON.parse(process.argv[2])
const tls = url.startsWith('wss') ? { ca: readFileSync(caFile, 'utf8') } : undefined
const headers = { Authorization: 'Bearer t', 'Content-Type': 'application/proto' }

const listener = Bun.listen({
  hostname: '127.0.0.1',
  port: 0,
  socket: {
    open(client) {
      client.setNoDelay(true)
      client.data = { gateway: undefined, queue: [], early: [], ended: false }
    },
    data(client, bytes) {
      const { gateway, early } = client.data
      if (!gateway) connect(client, bytes.toString('latin1'))
      else if (gateway.readyState === WebSocket.OPEN) gateway.send(chunk(bytes))
      else early.push(Buffer.from(bytes))
    },
    drain: flush,
    close(client) {
      client.data.gateway?.close()
    },
    error(client) {
      client.data.gateway?.close()
    },
  },
})
console.log(JSON.stringify({ port: listener.port }))

function connect(client, head) {
  const target = /^CONNECT (\S+)/.exec(head)?.[1]
  const gateway = new WebSocket(`${url}/v1/code/upstreamproxy/ws`, { headers, tls, perMessageDeflate: false })
  gateway.binaryType = 'nodebuffer'
  client.data.gateway = gateway
  gateway.onopen = () => {
    gateway.send(chunk(Buffer.from(`CONNECT ${target} HTTP/1.1\r\nProxy-Authorization: Basic czp0\r\n\r\n`)))
    for (const bytes of client.data.early) gateway.send(chunk(bytes))
  }
  gateway.onmessage = ({ data }) => {
    client.data.queue.push(payload(data))
    flush(client)
  }
  gateway.onclose = () => {
    client.data.ended = true
    flush(client)
  }
}

// A socket of Bun's takes what it can; the rest is the caller's to keep.
function flush(client) {
  const { queue, ended } = client.data
  while (queue.length > 0) {
    const written = client.write(queue[0])
    if (written < queue[0].length) {
      queue[0] = queue[0].subarray(Math.max(0, written))
      return
    }
    queue.shift()
  }
  if (ended) client.end()
}

function chunk(bytes) {
  const head = [0x0a]
  let left = bytes.length
  for (; left > 0x7f; left >>>= 7) head.push((left & 0x7f) | 0x80)
  head.push(left)
  const whole = Buffer.allocUnsafe(head.length + bytes.length)
  whole.set(head)
  whole.set(bytes, head.length)
  return whole
}

function payload(message) {
  let at = 1
  while (message[at] & 0x80) at++
  return message.subarray(at + 1)
}
