/** What `pass` gathers for a socket of the addon's: it goes out later, but whole, in order, and never to another one. */
import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import type { Socket } from 'node:net'
import t, { type Test } from 'tap'
import { loadAddon } from '#src/platform/addon.js'
import type { SystemCallError } from '#src/platform/process-control.js'
import type { StreamSocket, StreamSocketOptions } from '#src/platform/stream-socket.js'
import { chunk } from '../conformance/strict-gateway/chunk.js'
import { encodeFrame } from '../conformance/strict-gateway/frames.js'
import { eventually, pause, within } from '../support/deadline.js'
import { connections, nativeSockets, needsSockets } from './accepted.js'

const GATHERS = true
const AT_ONCE = false
const INBOX = Buffer.alloc(64 * 1024)

t.test('what is gathered waits, and goes before what follows', needsSockets, async (t) => {
  const { tunnel } = await tunnels(t)
  const one = await tunnel()
  const [first, second, third] = [randomBytes(16_000), randomBytes(16_000), randomBytes(9)]
  t.equal(one.pass(first, GATHERS), first.length)
  t.equal(one.pass(second, GATHERS), second.length)
  t.equal(one.socket.queuedBytes, 32_000)
  await pause(20)
  t.equal(one.received().length, 0, 'nothing has gone yet')
  t.equal(one.pass(third, AT_ONCE), third.length)
  t.equal(one.socket.queuedBytes, 0)
  await one.receives(t, Buffer.concat([first, second, third]))

  one.pass(first, GATHERS)
  nativeSockets().flush()
  nativeSockets().flush()
  await one.receives(t, first)

  one.pass(first, GATHERS)
  one.socket.write(second)
  await one.receives(t, Buffer.concat([first, second]))

  one.pass(third, GATHERS)
  one.socket.end()
  await one.receives(t, third)
  await within(one.ended, 'the FIN behind it')
})

t.test('one socket’s goes out before another’s gathers: nothing is crossed', needsSockets, async (t) => {
  const { tunnel } = await tunnels(t)
  const all = [await tunnel(), await tunnel(), await tunnel()]
  const sent = all.map(() => [] as Buffer[])
  for (let i = 0; i < 600; i++) {
    const which = Math.floor(Math.random() * all.length)
    const payload = randomBytes(1 + Math.floor(Math.random() * 30_000))
    all[which]!.pass(payload, Math.random() < 0.8)
    sent[which]!.push(payload)
    if (i % 50 === 0) await pause(1)
  }
  nativeSockets().flush()
  for (const [i, one] of all.entries()) await one.receives(t, Buffer.concat(sent[i]!))
})

t.test(
  'more than is worth gathering goes at once; behind a queue nothing is gathered',
  needsSockets,
  async (t) => {
    const { tunnel } = await tunnels(t)
    const one = await tunnel({ reads: false })
    const payload = randomBytes(60_000)
    let passes = 0
    const sent: Buffer[] = []
    while (one.pass(payload, GATHERS) > 0 && passes < 5_000) {
      sent.push(payload)
      passes++
    }
    t.ok(passes > 4, `${passes} passes before the kernel was full`)
    t.ok(one.socket.queuedBytes > 0)
    sent.push(payload)
    one.far.resume()
    nativeSockets().flush()
    await one.receives(t, Buffer.concat(sent))
  },
)

t.test(
  'a failure of what was gathered is told by callback, once; then every call says it',
  needsSockets,
  async (t) => {
    const { tunnel } = await tunnels(t)
    const [broken, whole] = [await tunnel(), await tunnel()]
    broken.far.resetAndDestroy()
    await pause(50)
    broken.pass(Buffer.from('lost'), GATHERS)
    // Flushed by another one's turn: the other one has nothing to do with it.
    whole.pass(Buffer.from('kept'), GATHERS)
    await eventually(() => broken.failures.length > 0, 'the failure')
    t.match(broken.failures[0]!.code, /^(?:ECONNRESET|EPIPE)$/)
    t.throws(() => broken.socket.write(Buffer.from('x')), 'it is gone')
    nativeSockets().flush()
    await whole.receives(t, Buffer.from('kept'))
    await pause(20)
    t.equal(broken.failures.length, 1)
  },
)

t.test(
  'a socket that is destroyed or reset takes what was gathered with it, and nobody gets it',
  needsSockets,
  async (t) => {
    const { tunnel } = await tunnels(t)
    for (const how of ['destroy', 'reset'] as const) {
      const [gone, next] = [await tunnel(), await tunnel()]
      gone.pass(Buffer.from('never seen'), GATHERS)
      gone.socket[how]()
      next.pass(Buffer.from('seen'), GATHERS)
      nativeSockets().flush()
      await next.receives(t, Buffer.from('seen'))
      t.equal(gone.received().length, 0, how)
    }
  },
)

interface Tunnel {
  readonly socket: StreamSocket
  readonly far: Socket
  readonly failures: SystemCallError[]
  readonly ended: Promise<unknown>
  pass(payload: Buffer, gathers: boolean): number
  received(): Buffer
  /** exactly these, next */
  receives(t: Test, expected: Buffer): Promise<void>
}

async function tunnels(t: Test) {
  const connect = await connections(t)
  const { framing } = loadAddon().addon!
  const tunnel = async ({ reads = true } = {}): Promise<Tunnel> => {
    const { descriptor, far } = await connect()
    const failures: SystemCallError[] = []
    const options: StreamSocketOptions = {
      adopt: true,
      maxQueuedBytes: 64 * 1024 * 1024,
      onFailed: (error) => failures.push(error),
    }
    const socket = new (nativeSockets().StreamSocket)(descriptor, options)
    t.teardown(() => socket.destroy())
    const decoder = framing!.createDecoder({ maxMessageBytes: 1024 * 1024 })
    decoder.passTo(INBOX, socket)
    let received: Buffer[] = []
    const ended = once(far, 'end').catch(() => undefined)
    far.on('data', (bytes: Buffer) => received.push(bytes))
    if (reads) far.resume()
    else far.pause()
    return {
      socket,
      far,
      failures,
      ended,
      pass: (payload, gathers) => decoder.pass(encodeFrame({ payload: chunk(payload) }).copy(INBOX), gathers),
      received: () => Buffer.concat(received),
      async receives(t, expected) {
        await eventually(
          () => received.reduce((sum, { length }) => sum + length, 0) >= expected.length,
          'all',
        )
        t.ok(Buffer.concat(received).equals(expected), `${expected.length} bytes`)
        received = []
      },
    }
  }
  return { tunnel }
}
