/** What becomes of queued bytes at the ends that a process, a thread and an object can come to. */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { createServer, type Socket } from 'node:net'
import { fileURLToPath } from 'node:url'
import t, { type Test } from 'tap'
import { within } from '../support/deadline.js'
import { present, skipping, WRITERS } from './implementations.js'
import { BYTES, patterned, type Scenario } from './socket-writer-program.js'

const PROGRAM = fileURLToPath(new URL('socket-writer-program.js', import.meta.url))

for (const { name, load } of WRITERS) {
  const loaded = load()
  const test = (title: string, run: (t: Test) => Promise<void>) =>
    t.test(`${name}: ${title}`, { ...skipping(loaded), timeout: 60_000 }, async (t) => {
      present(loaded)
      await run(t)
    })

  await test('garbage collection loses no queued byte, and takes what is over', async (t) => {
    const { reader, output, status } = await run(t, name, 'collected')
    t.ok((await readAll(await reader)).equals(patterned(0, BYTES)))
    t.equal(await status, 0)
    t.match(await output, /^queued\nclosed\n/, 'nothing was collected before its time')
    t.match(await output, /collected: writer/, 'and then the writer was')
  })

  await test('queued bytes keep the process alive until they are gone', async (t) => {
    const { reader, output, status } = await run(t, name, 'unended')
    t.ok((await readAll(await reader)).equals(patterned(0, BYTES)))
    t.equal(await output, 'queued\ndrained\n')
    t.equal(await status, 0)
  })

  await test('a process may exit with bytes queued', async (t) => {
    const { output, status } = await run(t, name, 'exit')
    t.equal(await status, 7)
    t.equal(await output, 'queued\n')
  })

  await test('what a callback throws is an uncaught exception', async (t) => {
    const { reader, output, status } = await run(t, name, 'throwing')
    ;(await reader).resume()
    t.equal(await output, 'queued\nuncaught: by the callback\n')
    t.equal(await status, 0)
  })

  await test('a worker may be terminated with bytes queued', async (t) => {
    const { output, status } = await run(t, name, 'worker')
    t.equal(await output, 'queued\n')
    t.equal(await status, 0)
  })
}

/** Starts the program, whose connections are read only when the test does so. */
async function run(t: Test, implementation: string, scenario: Scenario) {
  const server = createServer({ pauseOnConnect: true, allowHalfOpen: true })
  const sockets: Socket[] = []
  server.on('connection', (socket) => {
    sockets.push(socket)
    socket.on('error', () => undefined)
  })
  const first = once(server, 'connection') as Promise<[Socket]>
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const address = server.address()
  const port = typeof address === 'object' && address !== null ? address.port : 0
  const child = spawn(process.execPath, ['--expose-gc', PROGRAM, implementation, scenario, String(port)], {
    // The runner's own wiring is no business of the program's.
    env: { PATH: process.env['PATH'] },
    stdio: ['ignore', 'pipe', 'pipe'],
  })
  t.teardown(() => {
    child.kill('SIGKILL')
    for (const socket of sockets) socket.destroy()
    server.close()
  })
  let [text, errors] = ['', '']
  child.stdout.on('data', (bytes) => (text += bytes))
  child.stderr.on('data', (bytes) => (errors += bytes))
  const closed = within(once(child, 'close'), `the end of ${scenario}`, 50_000)
  // Its own rejection belongs to those who ask below.
  closed.catch(() => undefined)
  return {
    reader: first.then(async ([socket]) => {
      // Not before the queue is there.
      await within(
        new Promise<void>((resolve) => child.stdout.on('data', () => text.includes('queued') && resolve())),
        'the program',
        30_000,
      )
      return socket
    }),
    output: closed.then(() => text + errors),
    status: closed.then(([status, signal]) => signal ?? status),
  }
}

async function readAll(socket: Socket): Promise<Buffer> {
  const pieces: Buffer[] = []
  socket.on('data', (piece: Buffer) => pieces.push(piece)).resume()
  await within(once(socket, 'end'), 'the end of the stream', 30_000)
  return Buffer.concat(pieces)
}
