// The addon's objects at every end they can come to, under AddressSanitizer (scripts/native-checks.mjs):
//   node --expose-gc lifetimes.mjs PATH-OF-THE-ADDON
// Writers that are drained, reset, destroyed and ended in the middle, forgotten with data queued; in threads, at the end
// of a thread and of the process. Says `all hold`.
import { strict as assert } from 'node:assert'
import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { createRequire } from 'node:module'
import { connect, createServer } from 'node:net'
import { fileURLToPath } from 'node:url'
import { isMainThread, Worker, workerData } from 'node:worker_threads'

const path = process.argv[2]
const { framing, sockets: { StreamSocket: SocketWriter } } = createRequire(import.meta.url)(path)
const MUCH = Buffer.alloc(5_000_000, 'x')
const CAP = 4 * MUCH.length

if (workerData === 'leave') await leaveWithDataQueued()
else await everyEnd()

async function everyEnd() {
  const ends = { resets: 'ECONNRESET', drains: 'closed', destroys: 'destroyed', endsAtOnce: 'closed' }
  for (let round = 0; round < 8; round++) {
    for (const [way, expected] of Object.entries(ends)) assert.equal(await oneWriter(way), expected, way)
    decodeNoise()
    globalThis.gc()
  }
  if (!isMainThread) return
  await inThread(undefined)
  await inThread('leave')
  await forgotten()
  console.log('all hold')
  await leaveWithDataQueued()
}

async function oneWriter(way) {
  const { ours, theirs } = await pair()
  const end = new Promise((resolve) => {
    const writer = new SocketWriter(ours._handle.fd, {
      maxQueuedBytes: CAP,
      onDrained: () => writer.end(),
      onClosed: () => resolve('closed'),
      onFailed: ({ code }) => resolve(code === 'EPIPE' ? 'ECONNRESET' : code),
    })
    writer.write([MUCH, MUCH])
    if (way === 'resets') theirs.resetAndDestroy()
    else theirs.resume()
    if (way === 'endsAtOnce') writer.end()
    if (way !== 'destroys') return
    writer.destroy()
    resolve('destroyed')
  })
  const result = await end
  ours.destroy()
  theirs.destroy()
  return result
}

// Nobody but the queue holds the writer, and every byte arrives.
async function forgotten() {
  const { ours, theirs } = await pair()
  const forget = () => {
    const writer = new SocketWriter(ours._handle.fd, { maxQueuedBytes: CAP })
    writer.write([MUCH])
    writer.end()
  }
  forget()
  for (let turn = 0; turn < 5; turn++) {
    globalThis.gc()
    await new Promise((resolve) => setImmediate(resolve))
  }
  let bytes = 0
  theirs.on('data', (piece) => {
    bytes += piece.length
  })
  theirs.resume()
  await once(theirs, 'end')
  assert.equal(bytes, MUCH.length)
  ours.destroy()
}

async function leaveWithDataQueued() {
  for (let count = 0; count < 5; count++) {
    const { ours } = await pair()
    const writer = new SocketWriter(ours._handle.fd, { maxQueuedBytes: CAP })
    writer.write([MUCH])
  }
  setTimeout(() => process.exit(0), 50)
}

async function inThread(data) {
  const worker = new Worker(fileURLToPath(import.meta.url), { argv: [path], workerData: data })
  const [status] = await once(worker, 'exit')
  assert.equal(status, 0)
}

function decodeNoise() {
  for (let count = 0; count < 200; count++) {
    const bytes = randomBytes(200)
    bytes[0] = count % 2 === 0 ? 0x82 : 0x02
    bytes[1] = 100
    const decoder = framing.createDecoder({ maxMessageBytes: 1_000_000 })
    decoder.push(bytes)
    decoder.push(bytes.subarray(3))
    decoder.takePayload()
    decoder.takePing()
    assert.notEqual(decoder.failure === undefined && decoder.payloadBytes, undefined)
  }
}

async function pair() {
  const server = createServer({ pauseOnConnect: true }).listen(0, '127.0.0.1')
  await once(server, 'listening')
  const theirs = connect(server.address().port, '127.0.0.1')
  theirs.pause()
  for (const event of ['error', 'close']) theirs.on(event, () => undefined)
  const [ours] = await once(server, 'connection')
  ours.on('error', () => undefined)
  server.close()
  return { ours, theirs }
}
