/**
 * Brings reading sockets to ends that a test cannot bring itself to. Listens by the addon, says `port N`, and does with
 * what it accepts as its argument says; `said` on standard output is told by each scenario.
 */
import { once } from 'node:events'
import { fileURLToPath } from 'node:url'
import { isMainThread, parentPort, Worker } from 'node:worker_threads'
import { loadAddon } from '#src/platform/addon.js'
import type { LoopbackListener, StreamSocketOptions } from '#src/platform/stream-socket.js'

const SCENARIOS = {
  forgotten,
  dropped,
  unref,
  alive,
  throws,
  uncaught,
  exit,
  workers,
  'worker-itself': flooded,
}
export type Scenario = keyof typeof SCENARIOS

// The tests import the type from here.
if (!isMainThread || process.argv[1] === fileURLToPath(import.meta.url))
  await SCENARIOS[process.argv[2] as Scenario]()

/** Nobody holds what reads but itself; garbage is collected all the while. It echoes, and is collected when it is over. */
async function forgotten(): Promise<void> {
  const { gc, gone } = collecting()
  let isOver = false
  listening((descriptor, listener) => {
    listener.close()
    const socket = reading(descriptor, {
      onRead: (count) => (count === 0 ? socket.end() : socket.write(Buffer.from(arena(count)))),
      onClosed() {
        socket.destroy()
        isOver = true
      },
    })
    socket.readStart()
    gone.register(socket, 'socket')
  })
  while (!isOver) await gc()
  for (let i = 0; i < 50; i++) await gc()
  process.exit(0)
}

/** A socket that waits for nothing is garbage once nobody holds it; then its descriptor is closed. */
async function dropped(): Promise<void> {
  const { gc, gone } = collecting()
  listening((descriptor, listener) => {
    listener.close()
    gone.register(reading(descriptor), 'socket')
  })
  for (let i = 0; i < 400; i++) await gc()
}

/** Reads, and has nothing else to do. */
async function unref(): Promise<void> {
  listening((descriptor, listener) => {
    listener.close()
    reading(descriptor, { onRead: () => console.log('read') })
      .unref()
      .readStart()
    console.log('reading')
  })
}

async function alive(): Promise<void> {
  listening((descriptor, listener) => {
    listener.close()
    const socket = reading(descriptor, {
      onRead(count) {
        if (count === 0) socket.destroy()
      },
    })
    socket.unref().ref().readStart()
    console.log('reading')
  })
}

/** What callbacks throw are uncaught exceptions like any others, and what threw goes on. */
async function throws(): Promise<void> {
  process.on('uncaughtException', (error) => console.log(`uncaught: ${error.message}`))
  listening((descriptor, listener) => {
    listener.close()
    let reads = 0
    const socket = reading(descriptor, {
      onRead(count) {
        reads += 1
        throw new Error(count === 0 ? 'at the end' : `at read ${reads} of ${arena(count)}`)
      },
      onClosed() {
        socket.destroy()
        throw new Error('when closed')
      },
    })
    socket.readStart()
    setTimeout(() => socket.end(), 200)
    throw new Error('when connected')
  })
}

async function uncaught(): Promise<void> {
  listening((descriptor) => {
    reading(descriptor, {
      onRead() {
        throw new Error('by the callback')
      },
    }).readStart()
  })
}

/** In the middle of a read, with others open. */
async function exit(): Promise<void> {
  listening((descriptor) => reading(descriptor, { onRead: () => process.exit(7) }).readStart())
}

/** Threads are terminated in the middle of accepting and reading. */
async function workers(): Promise<void> {
  for (let i = 0; i < 6; i++) {
    const worker = new Worker(fileURLToPath(import.meta.url), { argv: ['worker-itself'] })
    await once(worker, 'message')
    // At another moment each time.
    await new Promise((resolve) => setTimeout(resolve, 2 * i))
    await worker.terminate()
  }
  console.log('terminated')
}

async function flooded(): Promise<void> {
  const { connect } = await import('node:net')
  let reads = 0
  const { port } = listening((descriptor) => {
    const socket = reading(descriptor, {
      onRead(count) {
        if (count > 0) socket.write(arena(count))
        reads += 1
        if (reads === 100) parentPort!.postMessage('reading')
      },
      onFailed: () => undefined,
    })
    socket.readStart()
  })
  for (let i = 0; i < 20; i++) {
    const client = connect(port, '127.0.0.1')
    client.on('error', () => undefined)
    client.on('data', (bytes) => client.write(bytes))
    client.write(Buffer.alloc(100_000))
  }
  setInterval(() => connect(port, '127.0.0.1').on('error', () => undefined), 1)
}

function listening(onConnection: (descriptor: number, listener: LoopbackListener) => void) {
  const { LoopbackListener, readArena } = loadAddon().addon!.sockets!
  readArena()
  const listener: LoopbackListener = new LoopbackListener(0, 128, {
    onConnection: (descriptor) => onConnection(descriptor, listener),
    onFailed(error) {
      throw error
    },
  })
  if (isMainThread) console.log(`port ${listener.port}`)
  return listener
}

function reading(descriptor: number, callbacks: Partial<StreamSocketOptions> = {}) {
  const { StreamSocket } = loadAddon().addon!.sockets!
  return new StreamSocket(descriptor, { adopt: true, maxQueuedBytes: 64 * 1024 * 1024, ...callbacks })
}

function arena(count: number): Buffer {
  const { bytes, offset } = loadAddon().addon!.sockets!.readArena()
  return bytes.subarray(offset, offset + count)
}

function collecting() {
  const { gc } = globalThis
  if (gc === undefined) throw new Error('needs --expose-gc')
  const gone = new FinalizationRegistry<string>((what) => console.log(`collected: ${what}`))
  return {
    gone,
    async gc() {
      gc()
      await new Promise((resolve) => setTimeout(resolve, 2))
    },
  }
}
