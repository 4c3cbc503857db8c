// The addon's objects at every end they can come to, under AddressSanitizer (scripts/native-checks.mjs):
//   node --expose-gc lifetimes.mjs PATH-OF-THE-ADDON
// Writers that are drained, reset, destroyed and ended in the middle, forgotten with data queued; readers that are reset,
// ended, stopped, destroyed inside each callback; listeners that are closed in the middle of a burst; in threads, at the
// end of a thread, in its middle, and of the process. Says `all hold`.
import { strict as assert } from 'node:assert'
import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { createRequire } from 'node:module'
import { connect, createServer } from 'node:net'
import { fileURLToPath } from 'node:url'
import { isMainThread, parentPort, Worker, workerData } from 'node:worker_threads'

const path = process.argv[2]
const { framing, sockets } = createRequire(import.meta.url)(path)
const { StreamSocket: SocketWriter, StreamSocket, LoopbackListener } = sockets
const { bytes: arena, offset } = sockets.readArena()
const MUCH = Buffer.alloc(5_000_000, 'x')
const CAP = 4 * MUCH.length

const READER_ENDS = [
  ...['bytes', 'end', 'drained', 'closed', 'failed', 'reset inside'],
  ...['stopped', 'paused', 'paused with a queue', 'broken'],
]

if (workerData === 'leave') await leaveWithDataQueued()
else if (workerData === 'flood') flood()
else await everyEnd()

async function everyEnd() {
  const ends = { resets: 'ECONNRESET', drains: 'closed', destroys: 'destroyed', endsAtOnce: 'closed' }
  for (let round = 0; round < 8; round++) {
    for (const [way, expected] of Object.entries(ends)) assert.equal(await oneWriter(way), expected, way)
    for (const way of READER_ENDS) await oneReader(way)
    await oneListener(round % 2 === 0)
    decodeNoise()
    globalThis.gc()
  }
  if (!isMainThread) return
  for (let round = 0; round < 4; round++) await interrupted(round)
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

// An accepted socket that reads, and comes to an end of its own or its peer's. Destroys itself inside the callback whose
// name it has for its way.
async function oneReader(way) {
  const { descriptor, far } = await accepted()
  const told = []
  await new Promise((resolve) => {
    const end = (name) => {
      told.push(name)
      if (name === way) socket.destroy()
      else if (way === 'reset inside' && name === 'bytes') socket.reset()
      else if (name === 'bytes' && way === 'stopped') {
        socket.readStop()
        setImmediate(() => socket.readStart())
      }
      if (name === way || way === 'reset inside' || ['end', 'closed', 'failed'].includes(name)) resolve()
    }
    const socket = new StreamSocket(descriptor, {
      adopt: true,
      watchPaused: way === 'paused',
      maxQueuedBytes: CAP,
      onRead(count) {
        assert.ok(offset + count <= arena.length)
        if (count > 0) decodeFrom(count, socket)
        end(count === 0 ? 'end' : 'bytes')
      },
      onDrained: () => end('drained'),
      onClosed: () => end('closed'),
      onFailed: () => end('failed'),
    })
    socket.readStart()
    if (way === 'drained') {
      socket.write(MUCH)
      far.resume()
    }
    if (way === 'closed') socket.end()
    if (way === 'paused') socket.readStop()
    if (way === 'broken') {
      far.write('last words')
      far.resetAndDestroy()
      assert.throws(() => socket.write(MUCH))
      return
    }
    if (way === 'paused with a queue') {
      socket.readStop()
      socket.write([MUCH, MUCH])
      setTimeout(() => socket.readStart(), 5)
    }
    far.write(randomBytes(100_000))
    if (way === 'end' || way === 'stopped') far.end()
    else if (way !== 'bytes' && way !== 'drained' && way !== 'closed')
      setImmediate(() => far.resetAndDestroy())
  })
  assert.notEqual(told.length, 0, way)
  far.destroy()
}

// What is read is decoded where it lies, and payload goes to the socket that it came from; noise breaks the decoder soon.
function decodeFrom(count, socket) {
  const decoder = framing.createDecoder({ maxMessageBytes: 1_000_000 })
  try {
    decoder.push(arena.subarray(offset, offset + count), socket)
  } catch (error) {
    assert.match(error.code, /^E[A-Z]+$/)
  }
}

async function accepted() {
  let far
  const descriptor = await new Promise((resolve) => {
    const listener = new LoopbackListener(0, 16, {
      onConnection(accepted) {
        listener.close()
        resolve(accepted)
      },
    })
    far = quiet(connect(listener.port, '127.0.0.1')).pause()
  })
  if (far.connecting) await once(far, 'connect')
  return { descriptor, far }
}

// Closed in the middle of a burst, or forgotten with its port open, which keeps it alive until it is closed after all.
async function oneListener(closes) {
  let count = 0
  const done = new Promise((resolve) => {
    const listener = new LoopbackListener(0, 64, {
      onConnection(descriptor) {
        new StreamSocket(descriptor, { adopt: true, maxQueuedBytes: 1 }).destroy()
        count++
        if (closes ? count === 5 : count === 40) {
          listener.close()
          listener.resume()
          resolve()
        }
      },
    }).unref()
    for (let i = 0; i < 40; i++) quiet(connect(listener.port, '127.0.0.1'))
  })
  globalThis.gc()
  await done
  assert.throws(() => new LoopbackListener(-1, 1, {}), TypeError)
}

// A thread that is terminated while it accepts and reads.
async function interrupted(round) {
  const worker = new Worker(fileURLToPath(import.meta.url), { argv: [path], workerData: 'flood' })
  await once(worker, 'message')
  await new Promise((resolve) => setTimeout(resolve, round * 3))
  await worker.terminate()
}

function flood() {
  const listener = new LoopbackListener(0, 64, {
    onConnection(descriptor) {
      const socket = new StreamSocket(descriptor, {
        adopt: true,
        maxQueuedBytes: CAP,
        onRead: (count) => count > 0 && socket.write(arena.subarray(offset, offset + count)),
        onFailed: () => undefined,
      })
      socket.readStart()
    },
    onFailed: () => undefined,
  })
  const dial = () => {
    const client = quiet(connect(listener.port, '127.0.0.1'))
    client.on('data', (bytes) => client.write(bytes))
    client.write(Buffer.alloc(50_000))
  }
  for (let count = 0; count < 10; count++) dial()
  setInterval(dial, 2)
  setTimeout(() => parentPort.postMessage('flooding'), 20)
}

function quiet(socket) {
  return socket.on('error', () => undefined)
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
    const { descriptor } = await accepted()
    new StreamSocket(descriptor, { adopt: true, maxQueuedBytes: CAP, onRead: () => undefined }).readStart()
  }
  new LoopbackListener(0, 1, {})
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
