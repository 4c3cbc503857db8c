/** Large and slow bodies: whole, in bounded memory, each side waiting for the other. */
import { createHash, randomBytes } from 'node:crypto'
import { once } from 'node:events'
import type { IncomingMessage } from 'node:http'
import { Readable } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import t, { type Test } from 'tap'
import { exchange, readHead, secure, send, tunnelOf } from './support/client.js'
import { eventually, testGateway } from './support/gateway.js'
import { type TestOriginOptions, testOrigin } from './support/origin.js'
import { makePki } from './support/pki.js'

const pki = await makePki()
const MIB = 1024 * 1024
const BIG = 32 * MIB
const PIECE = randomBytes(64 * 1024)

async function stage(t: Test, serve: NonNullable<TestOriginOptions['serve']>, more = '') {
  const origin = await testOrigin(t, pki, { serve })
  const { gateway, records } = await testGateway(t, { originCa: pki.caPem, more })
  const open = async () => {
    const socket = await secure(gateway.url, origin.authority, { ca: gateway.caCertificate })
    t.teardown(() => socket.destroy())
    return socket
  }
  return { open, records, headers: { Host: origin.authority, Connection: 'keep-alive' }, origin }
}

/** So many bytes, and how many were asked for. */
function source(bytes: number): { stream: Readable; taken: () => number } {
  let taken = 0
  const stream = new Readable({
    read() {
      if (taken >= bytes) return void this.push(null)
      taken += PIECE.length
      this.push(PIECE)
    },
  })
  return { stream, taken: () => taken }
}

async function digest(stream: AsyncIterable<unknown>): Promise<{ bytes: number; sha256: string }> {
  const hash = createHash('sha256')
  let bytes = 0
  for await (const piece of stream) {
    hash.update(piece as Buffer)
    bytes += (piece as Buffer).length
  }
  return { bytes, sha256: hash.digest('hex') }
}

setFlagsFromString('--expose-gc')
const collectGarbage = runInNewContext('gc') as () => void

const EXPECTED = await digest(source(BIG).stream)

// What is held, by all four parties in this process, once the garbage is gone. Measured while nothing moves.
async function heldBytes(): Promise<number> {
  for (let i = 0; i < 3; i++) {
    collectGarbage()
    await new Promise((resolve) => setTimeout(resolve, 20))
  }
  const { external, heapUsed } = process.memoryUsage()
  return external + heapUsed
}

// Resolves once no more is taken: what lies in kernels and queues on the way is full.
async function stalled(taken: () => number): Promise<void> {
  let before = -1
  await eventually(async () => {
    const now = taken()
    const still = now === before && now > 0
    before = now
    await new Promise((resolve) => setTimeout(resolve, 150))
    return still
  })
}

t.test('32 MiB come down whole, by length and by chunks, and go up whole', async (t) => {
  const { open, records, headers } = await stage(t, (request, response) => {
    if (request.method === 'GET') {
      if (request.url === '/length') response.setHeader('Content-Length', BIG)
      source(BIG).stream.pipe(response)
    } else {
      void digest(request).then((got) => response.end(JSON.stringify(got)))
    }
  })
  const socket = await open()
  for (const path of ['/length', '/chunked']) {
    const sent = send(socket, { path, headers })
    sent.end()
    const [response] = (await once(sent, 'response')) as [IncomingMessage]
    t.strictSame(await digest(response), EXPECTED, path)
  }
  for (const framing of [{ 'Content-Length': String(BIG) }, { 'Transfer-Encoding': 'chunked' }]) {
    const sent = send(socket, { method: 'PUT', path: '/up', headers: { ...headers, ...framing } })
    const answered = once(sent, 'response') as Promise<[IncomingMessage]>
    await pipeline(source(BIG).stream, sent)
    const [response] = await answered
    let text = ''
    for await (const piece of response) text += String(piece)
    t.strictSame(JSON.parse(text), EXPECTED, JSON.stringify(framing))
  }
  socket.destroy()
  const [first, , third] = await eventually(() => records().length >= 4 && records())
  t.match(first, { bytesUp: 0, bytesDown: BIG })
  t.match(third, { bytesUp: BIG, status: 200 })
})

t.test('a client that does not read stalls the origin, and gets all once it reads', async (t) => {
  const down = source(BIG)
  const { open, headers } = await stage(t, (_, response) => void down.stream.pipe(response))
  const socket = await open()
  const before = await heldBytes()
  const sent = send(socket, { path: '/', headers })
  sent.end()
  const [response] = (await once(sent, 'response')) as [IncomingMessage]
  await stalled(down.taken)
  const held = (await heldBytes()) - before
  t.ok(held < 3 * MIB, `${(held / MIB).toFixed(1)} MiB held`)
  t.ok(down.taken() < BIG, `the origin was asked for ${down.taken() / MIB} MiB of ${BIG / MIB}`)
  t.strictSame(await digest(response), EXPECTED)
})

t.test('an origin that does not read stalls the client, and gets all once it reads', async (t) => {
  let read: () => void = () => undefined
  const { open, headers } = await stage(
    t,
    (request, response) => {
      read = () => void digest(request).then((got) => response.end(JSON.stringify(got)))
    },
    'limits: { keepaliveMs: 20 }',
  )
  const socket = await open()
  const before = await heldBytes()
  const up = source(BIG)
  const sent = send(socket, {
    method: 'PUT',
    path: '/',
    headers: { ...headers, 'Content-Length': String(BIG) },
  })
  const answered = once(sent, 'response') as Promise<[IncomingMessage]>
  up.stream.pipe(sent)
  let pongs = 0
  tunnelOf(socket).webSocket.on('pong', () => pongs++)
  await stalled(up.taken)
  const held = (await heldBytes()) - before
  t.ok(held < 3 * MIB, `${(held / MIB).toFixed(1)} MiB held`)
  t.ok(up.taken() < BIG, `the client was asked for ${up.taken() / MIB} MiB of ${BIG / MIB}`)
  await eventually(() => pongs > 1)
  t.pass('a gateway that does not read still shows that it lives')
  read()
  const [response] = await answered
  let text = ''
  for await (const piece of response) text += String(piece)
  t.strictSame(JSON.parse(text), EXPECTED)
})

t.test('a slow reader gets the last byte of a connection that ends', async (t) => {
  const { open, headers } = await stage(
    t,
    (_, response) => {
      response.shouldKeepAlive = false
      source(4 * MIB).stream.pipe(response)
    },
    'limits: { closeMs: 50 }',
  )
  const socket = await open()
  socket.pause()
  socket.write(`GET / HTTP/1.1\r\nHost: ${headers.Host}\r\nConnection: close\r\n\r\n`)
  await new Promise((resolve) => setTimeout(resolve, 300))
  const head = await readHead(socket)
  t.match(head.head, /Transfer-Encoding: chunked/i)
  let bytes = head.rest.length
  let last = Buffer.alloc(0)
  socket.on('data', (piece: Buffer) => {
    bytes += piece.length
    last = Buffer.concat([last, piece]).subarray(-5)
  })
  socket.resume()
  t.equal(await tunnelOf(socket).closeCode, 1000)
  await eventually(() => last.toString() === '0\r\n\r\n')
  t.ok(bytes > 4 * MIB)
})

t.test('many tunnels at once do not get into each other', async (t) => {
  const { open, headers, origin } = await stage(t, (request, response) => {
    const size = Number(request.url?.slice(1))
    response.end(Buffer.alloc(size, request.url))
  })
  const sockets = await Promise.all(Array.from({ length: 40 }, open))
  await Promise.all(
    sockets.map(async (socket, i) => {
      for (let round = 0; round < 3; round++) {
        const size = 1000 + i * 1777 + round
        const { body } = await exchange(socket, { path: `/${size}`, headers })
        if (body !== Buffer.alloc(size, `/${size}`).toString()) t.fail(`tunnel ${i}, round ${round}`)
      }
    }),
  )
  t.equal(origin.requests.length, 120)
})
