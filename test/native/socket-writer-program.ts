/**
 * Brings a SocketWriter to an end that a test cannot bring itself to: `implementation scenario port`. The port's server
 * reads when it likes; each scenario queues BYTES bytes for it, the n-th of them n mod 251.
 */
import { once } from 'node:events'
import { connect, type Socket } from 'node:net'
import { fileURLToPath } from 'node:url'
import { Worker } from 'node:worker_threads'
import type { SocketWriter } from '#src/platform/socket-writer.js'
import { present, WRITERS } from './implementations.js'

export const BYTES = 16 * 1024 * 1024
const SCENARIOS = { collected, exit, throwing, worker, 'worker-itself': workerItself, unended }
export type Scenario = keyof typeof SCENARIOS

const [implementation, scenario, port] = process.argv.slice(2)
// The tests import BYTES and patterned from here.
if (process.argv[1] === fileURLToPath(import.meta.url)) await SCENARIOS[scenario as Scenario]()

/** Nobody holds the writer but itself; garbage is collected all the while. */
async function collected(): Promise<void> {
  const { gc } = globalThis
  if (gc === undefined) throw new Error('needs --expose-gc')
  const gone = new FinalizationRegistry<string>((what) => console.log(`collected: ${what}`))
  let closed = false
  await (async () => {
    const writer = await queueing({ onClosed: () => (closed = true) }, (socket) =>
      gone.register(socket, 'socket'),
    )
    gone.register(writer, 'writer')
    writer.end()
  })()
  console.log('queued')
  while (!closed) {
    const garbage = Array.from({ length: 1000 }, () => Buffer.alloc(100))
    gc()
    await new Promise((resolve) => setTimeout(resolve, garbage.length / 500))
  }
  console.log('closed')
  // What is over can be collected.
  for (let i = 0; i < 50; i++) {
    gc()
    await new Promise((resolve) => setTimeout(resolve, 2))
  }
  process.exit(0)
}

/** The process ends by itself, and not before all has gone out. */
async function unended(): Promise<void> {
  await queueing({ onDrained: () => console.log('drained') }, (socket) => socket.unref())
  console.log('queued')
}

async function exit(): Promise<void> {
  const writers = [await queueing(), await queueing(), await queueing()]
  writers[1]!.end()
  writers[2]!.destroy()
  console.log('queued')
  process.exit(7)
}

/** What a callback throws is an uncaught exception like any other. */
async function throwing(): Promise<void> {
  process.on('uncaughtException', (error) => {
    console.log(`uncaught: ${error.message}`)
    process.exit(0)
  })
  await queueing({
    onDrained() {
      throw new Error('by the callback')
    },
  })
  console.log('queued')
}

/** Workers are terminated while bytes wait in them. */
async function worker(): Promise<void> {
  for (let i = 0; i < 8; i++) {
    const one = new Worker(fileURLToPath(import.meta.url), { argv: [implementation, 'worker-itself', port] })
    const [message] = await once(one, 'message')
    if (message !== 'queued') throw new Error(`the worker said ${message}`)
    await one.terminate()
  }
  console.log('queued')
  process.exit(0)
}

async function workerItself(): Promise<void> {
  const { parentPort } = await import('node:worker_threads')
  const writers = [await queueing(), await queueing(), await queueing()]
  writers[1]!.end()
  writers[2]!.destroy()
  parentPort!.postMessage('queued')
  setInterval(() => writers, 1000)
}

async function queueing(
  callbacks: { onDrained?: () => void; onClosed?: () => void } = {},
  see: (socket: Socket) => void = () => undefined,
): Promise<SocketWriter> {
  const found = WRITERS.find(({ name }) => name === implementation)
  if (found === undefined) throw new Error('name an implementation')
  const socket = connect({ port: Number(port), host: '127.0.0.1', allowHalfOpen: true })
  await once(socket, 'connect')
  see(socket)
  const writer = present(found.load())(socket, { maxQueuedBytes: BYTES, ...callbacks })
  for (let at = 0; at < BYTES; at += 65_536) writer.write([patterned(at, 65_536)])
  if (writer.queuedBytes === 0) throw new Error('nothing waits')
  return writer
}

/** Bytes of the pattern from `from` on. */
export function patterned(from: number, bytes: number): Buffer {
  return Buffer.alloc(
    bytes,
    Uint8Array.from({ length: 251 }, (_, i) => (from + i) % 251),
  )
}
