/** Reading by the addon's StreamSocket. Writing is the matter of the suite of all writers, socket-writer-suite.ts. */
import { createHash, randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { closeSync } from 'node:fs'
import t, { type Test } from 'tap'
import { loadAddon } from '#src/platform/addon.js'
import { chunk } from '../conformance/strict-gateway/chunk.js'
import { encodeFrame } from '../conformance/strict-gateway/frames.js'
import { eventually, pause } from '../support/deadline.js'
import { matchWhole } from '../support/match-whole.js'
import {
  type Connection,
  connections,
  isOpen,
  nativeSockets,
  needsSockets,
  socketOf,
  type Telling,
  WatchedSocket,
} from './accepted.js'
import { FRAMINGS, present } from './implementations.js'

const KiB = 1024
const MiB = 1024 * KiB
const X = Buffer.from('x')
const RESET = ['ECONNRESET', 'EPIPE']

function test(title: string, run: (t: Test, connect: () => Promise<Connection>) => Promise<void>): void {
  t.test(title, { ...needsSockets, timeout: 60_000 }, async (t) => run(t, await connections(t)))
}

test('there is one arena, which does not move, with room before it for the headers of a frame', async (t) => {
  const { readArena } = nativeSockets()
  const { bytes, offset } = readArena()
  t.equal(readArena(), readArena())
  t.equal(nativeSockets().readArena(), readArena(), 'whoever asks')
  t.ok(offset >= 18, `${offset}`)
  t.equal((bytes.length - offset + 18) % (16 * KiB), 0, 'what fills whole records of TLS, headers and all')
})

test('forty sockets read into it at once and write meanwhile: each has its own bytes', async (t, connect) => {
  const data = randomBytes(8 * MiB)
  const expected = digest(data)
  const all = await Promise.all(
    (await sequence(40, connect)).map(async ({ descriptor, far }, i) => {
      const socket = new WatchedSocket(t, descriptor)
      const [hash, back] = [createHash('sha256'), createHash('sha256')]
      const start = i * KiB
      const own = data.subarray(start, start + MiB)
      socket.onTold = (what) => {
        if (what === 'end') socket.call((native) => native.end())
        // What has been read is written back at once, from the arena itself.
        if (what !== 'bytes') return
        const piece = socket.take()
        hash.update(piece)
        socket.call((native) => native.write(piece))
      }
      socket.call((native) => native.readStart())
      far.on('data', (piece: Buffer) => back.update(piece)).resume()
      for (let at = 0; at < own.length; at += 70_001) far.write(own.subarray(at, at + 70_001))
      far.end()
      await once(far, 'end')
      const right = digest(own)
      return [hash.digest('hex') === right, back.digest('hex') === right]
    }),
  )
  t.strictSame(all, Array(40).fill([true, true]))
  t.equal(digest(data), expected, 'the experiment is sound')
})

test('one read a wake-up, of at most what the arena holds: others have their turn', async (t, connect) => {
  let turn = 0
  let immediate = setImmediate(function next() {
    turn += 1
    immediate = setImmediate(next)
  })
  t.teardown(() => clearImmediate(immediate))
  const turns = new Map<string, number>()
  const readers = (await sequence(4, connect)).map(({ descriptor, far }, i) => {
    const socket = new WatchedSocket(t, descriptor)
    socket.onTold = () => {
      const key = `${i} ${turn}`
      turns.set(key, (turns.get(key) ?? 0) + 1)
      socket.take()
    }
    far.write(Buffer.alloc(4 * MiB))
    far.end()
    return socket
  })
  await pause(20)
  for (const reader of readers) reader.call((native) => native.readStart())
  for (const reader of readers) await reader.tells('end')
  t.equal(Math.max(...turns.values()), 1, 'never twice in a turn of the loop')
  const { bytes, offset } = nativeSockets().readArena()
  const largest = Math.max(...readers.map(({ largestRead }) => largestRead))
  t.ok(largest <= bytes.length - offset && largest > 64 * KiB, `the largest read had ${largest} bytes`)
})

test('a FIN is a read of nothing, told once; then the socket waits for nothing, and writes go on', async (t, connect) => {
  const { descriptor, far } = await connect()
  const socket = new WatchedSocket(t, descriptor)
  socket.call((native) => native.readStart())
  far.end('all')
  await socket.tells('end')
  for (const again of [1, 2]) {
    socket.call((native) => native.readStop())
    socket.call((native) => native.readStart())
    t.ok(await rests(), `it does not spin (${again})`)
  }
  t.equal(socket.received.toString(), 'all')
  socket.write('after the end')
  socket.call((native) => native.end())
  t.equal((await readAll(far)).toString(), 'after the end')
  await socket.tells('closed')
  t.strictSame(socket.told, ['bytes', 'end', 'closed'])
})

test('a reset is a failure, told once, and never an end', async (t, connect) => {
  const { descriptor, far } = await connect()
  const name = socketOf(descriptor)
  const socket = new WatchedSocket(t, descriptor)
  socket.call((native) => native.readStart())
  far.resetAndDestroy()
  await socket.tells('ECONNRESET')
  t.notOk(isOpen(name), 'its descriptor is closed')
  t.equal(
    socket.refusal((native) => native.write(X)),
    'EPIPE',
  )
  t.equal(
    socket.refusal((native) => native.end()),
    'EPIPE',
  )
  t.equal(
    socket.refusal((native) => native.readStart()),
    undefined,
    'and reading is a call to nobody',
  )
  await pause(20)
  t.strictSame(socket.told, ['ECONNRESET'])
})

test('bytes and a reset in one wake-up: the bytes, then the failure, never an end', async (t, connect) => {
  for (let round = 0; round < 60; round++) {
    const { descriptor, far } = await connect()
    const socket = new WatchedSocket(t, descriptor)
    // Bytes of the round before, a read that has been; or the first thing that the socket ever meets.
    if (round % 2 === 0) {
      socket.call((native) => native.readStart())
      far.write('before')
      await socket.tells('bytes')
    }
    const sent = randomBytes(round % 3 === 0 ? 1 : round * 40 * KiB)
    far.write(sent)
    far.resetAndDestroy()
    if (round % 2 === 1) socket.call((native) => native.readStart())
    await socket.tells('ECONNRESET')
    const before = round % 2 === 0 ? 6 : 0
    const received = socket.received.subarray(before)
    t.ok(received.length > 0 && received.equals(sent.subarray(0, received.length)), `round ${round}`)
    t.strictSame(socket.told, ['bytes', 'ECONNRESET'])
  }
})

for (const hasRead of [true, false]) {
  const title = hasRead ? 'in the middle of its reading' : 'before its first read'
  test(`a write that fails ${title}: unread bytes first, then the failure once more`, async (t, connect) => {
    for (let round = 0; round < 20; round++) {
      const { descriptor, far } = await connect()
      const socket = new WatchedSocket(t, descriptor)
      socket.call((native) => native.readStart())
      if (hasRead) {
        far.write('first ')
        await socket.tells('bytes')
      }
      far.write('last words')
      far.resetAndDestroy()
      // In the same turn: nothing of it has been read.
      const code = socket.refusal((native) => native.write(X))
      t.ok(RESET.includes(String(code)), String(code))
      t.equal(
        socket.refusal((native) => native.write(X)),
        code,
        'it is broken from now on',
      )
      await eventually(() => socket.told.length >= 2, 'bytes and the failure')
      t.strictSame(socket.told, ['bytes', code])
      t.equal(socket.received.toString(), hasRead ? 'first last words' : 'last words')
    }
  })
}

test('with watchPaused a write that fails is the last that is heard', async (t, connect) => {
  const { descriptor, far } = await connect()
  const socket = new WatchedSocket(t, descriptor, { watchPaused: true })
  socket.call((native) => native.readStart())
  far.write('first ')
  await socket.tells('bytes')
  far.write('last words')
  far.resetAndDestroy()
  t.ok(RESET.includes(String(socket.refusal((native) => native.write(X)))))
  await pause(50)
  t.strictSame(socket.told, ['bytes'])
})

test('a queue that fails while reading is stopped: the bytes come when it reads again, then the failure', async (t, connect) => {
  const { descriptor, far } = await connect()
  const socket = new WatchedSocket(t, descriptor)
  socket.call((native) => native.readStart())
  far.write('first ')
  await socket.tells('bytes')
  socket.call((native) => native.readStop())
  await socket.fill()
  far.write('last words')
  far.resetAndDestroy()
  t.ok(await rests(), 'it does not spin')
  t.strictSame(socket.told, ['bytes'], 'nothing is told while reading is stopped')
  t.equal(socket.queuedBytes, 0, 'the queue is gone')
  socket.call((native) => native.readStart())
  await eventually(() => socket.told.length >= 2, 'the failure')
  t.strictSame([socket.told.length, socket.received.toString()], [2, 'first last words'])
  t.ok(RESET.includes(socket.told[1]!), socket.told[1]!)
})

test('a failure while an end waits to be told: reading goes on to it', async (t, connect) => {
  const { descriptor, far } = await connect()
  const socket = new WatchedSocket(t, descriptor)
  socket.call((native) => native.readStart())
  far.write('last words')
  far.resetAndDestroy()
  const code = socket.refusal((native) => native.end())
  await eventually(() => socket.told.length >= 2, 'the failure')
  t.equal(socket.received.toString(), 'last words')
  t.notOk(socket.told.includes('end') || socket.told.includes('closed'), `${socket.told} after ${code}`)
})

test('reading stopped and started again under load loses nothing, and doubles nothing', async (t, connect) => {
  const data = randomBytes(8 * MiB)
  for (const watchPaused of [false, true]) {
    const { descriptor, far } = await connect()
    const socket = new WatchedSocket(t, descriptor, { watchPaused })
    let [stopped, readWhileStopped] = [false, 0]
    let stops = 0
    socket.onTold = (what) => {
      if (stopped && what === 'bytes') readWhileStopped += 1
      const luck = Math.random()
      if (what !== 'bytes' || luck > 0.7) return
      stopped = true
      stops += 1
      socket.call((native) => native.readStop())
      const again = () => {
        stopped = false
        socket.call((native) => native.readStart())
      }
      // At once, in this turn, or some turns later.
      if (luck < 0.2) again()
      else if (luck < 0.5) setImmediate(again)
      else setTimeout(again, 1)
    }
    socket.call((native) => native.readStart())
    for (let at = 0; at < data.length; at += 50_000) far.write(data.subarray(at, at + 50_000))
    far.end()
    await socket.tells('end')
    t.ok(socket.received.equals(data))
    t.equal(readWhileStopped, 0)
    t.ok(stops > 3, `${stops} stops`)
  }
})

test('watchPaused: a reset is told while reading is stopped; without it, once it reads again', async (t, connect) => {
  const [watching, other] = [await connect(), await connect()]
  const watched = new WatchedSocket(t, watching.descriptor, { watchPaused: true })
  const unwatched = new WatchedSocket(t, other.descriptor)
  for (const [socket, { far }] of [
    [watched, watching],
    [unwatched, other],
  ] as const) {
    socket.call((native) => native.readStart())
    far.write('first ')
    await socket.tells('bytes')
    socket.call((native) => native.readStop())
    far.write('unread')
    far.resetAndDestroy()
  }
  await watched.tells('ECONNRESET')
  t.equal(watched.received.toString(), 'first ', 'what was not read is lost')
  await pause(20)
  t.strictSame(unwatched.told, ['bytes'])
  unwatched.call((native) => native.readStart())
  await unwatched.tells('ECONNRESET')
  t.equal(unwatched.received.toString(), 'first unread')
})

test('watchPaused: a FIN behind a stop is no reset, is not told over and over, and comes in its turn', async (t, connect) => {
  const sockets: WatchedSocket[] = []
  for (let i = 0; i < 20; i++) {
    const { descriptor, far } = await connect()
    const socket = new WatchedSocket(t, descriptor, { watchPaused: true })
    socket.call((native) => native.readStart())
    far.write('first ')
    await socket.tells('bytes')
    socket.call((native) => native.readStop())
    // With and without bytes in front of it, with and without a queue of our own that nobody reads.
    far.end(i % 2 === 0 ? 'unread' : '')
    if (i % 4 < 2) await socket.fill()
    sockets.push(socket)
  }
  t.ok(await rests(200), 'it does not spin')
  for (const socket of sockets) t.strictSame(socket.told, ['bytes'])
  for (const [i, socket] of sockets.entries()) {
    socket.call((native) => native.readStart())
    await socket.tells('end')
    t.equal(socket.received.toString(), i % 2 === 0 ? 'first unread' : 'first ')
    t.strictSame(socket.told, ['bytes', 'end'])
  }
})

test('both sides at their end and reading stopped: the loop rests', async (t, connect) => {
  for (const watchPaused of [false, true]) {
    const { descriptor, far } = await connect()
    const socket = new WatchedSocket(t, descriptor, { watchPaused })
    socket.call((native) => native.readStart())
    far.write('x')
    await socket.tells('bytes')
    socket.call((native) => native.readStop())
    socket.call((native) => native.end())
    far.end()
    await socket.tells('closed')
    t.ok(await rests(), `watchPaused ${watchPaused}`)
    socket.call((native) => native.readStart())
    await socket.tells('end')
    t.strictSame(socket.told, ['bytes', 'closed', 'end'])
  }
})

test('an adopted descriptor is its own; else it works on a duplicate', async (t, connect) => {
  for (const adopt of [true, false]) {
    const { descriptor, far } = await connect()
    const name = socketOf(descriptor)
    const socket = new WatchedSocket(t, descriptor, { adopt })
    socket.call((native) => native.readStart())
    far.write('x')
    await socket.tells('bytes')
    socket.call((native) => native.destroy())
    t.equal(isOpen(name), !adopt)
    if (!adopt) closeSync(descriptor)
    t.equal((await readAll(far)).length, 0, 'the far end sees the end')
  }
})

test('what cannot be adopted is told like any failure', async (t) => {
  const { StreamSocket, readArena } = nativeSockets()
  readArena()
  for (const descriptor of [-1, Number.NaN, 2 ** 31, 2 ** 53])
    t.throws(() => new StreamSocket(descriptor, { adopt: true, maxQueuedBytes: 1 }), { code: 'EBADF' })
  const nobodys = new StreamSocket(1_000_000, { adopt: true, maxQueuedBytes: 1 })
  t.throws(() => nobodys.readStart(), { code: 'EBADF' })
  t.throws(() => nobodys.write(Buffer.from('x')), { code: 'EPIPE' }, 'it is gone')
})

test('reset sends a RST although all had been read; destroy of an adopted one a FIN', async (t, connect) => {
  const [one, other] = [await connect(), await connect()]
  const errors: Error[] = []
  one.far.on('error', (error) => errors.push(error))
  const socket = new WatchedSocket(t, one.descriptor)
  socket.call((native) => native.reset())
  one.far.resume()
  await eventually(() => one.far.closed, 'the far end is gone')
  matchWhole(t, errors, [{ code: 'ECONNRESET' }])
  const second = new WatchedSocket(t, other.descriptor)
  second.write('all')
  second.call((native) => native.destroy())
  t.equal((await readAll(other.far)).toString(), 'all')
  await pause(20)
  t.strictSame([...socket.told, ...second.told], [])
})

// To each callback, the state in which it comes.
const CALLBACKS: Record<Telling, (socket: WatchedSocket, far: Connection['far']) => Promise<void>> = {
  bytes: async (_socket, far) => void far.write('x'),
  end: async (_socket, far) => void far.end('x'),
  drained: async (socket, far) => {
    await socket.fill()
    far.resume()
  },
  closed: async (socket) => socket.call((native) => native.end()),
  failed: async (_socket, far) => void far.resetAndDestroy(),
}

for (const [what, provoke] of Object.entries(CALLBACKS)) {
  test(`inside the callback for “${what}” a socket may be destroyed and reset; nothing follows`, async (t, connect) => {
    for (const way of ['destroy', 'reset', 'destroy, reset and all the rest'] as const) {
      const { descriptor, far } = await connect()
      const name = socketOf(descriptor)
      const socket = new WatchedSocket(t, descriptor)
      let isOver = false
      let after = 0
      socket.onTold = (told) => {
        if (isOver) after += 1
        if (told !== what) return
        isOver = true
        socket.call((native) => {
          if (way === 'reset') return native.reset()
          native.destroy()
          if (way === 'destroy') return
          native.reset()
          native.readStart()
          native.readStop()
          native.unref().ref()
        })
        socket.refusal((native) => native.write(X))
        socket.refusal((native) => native.end())
        t.notOk(isOpen(name), 'closed at once')
      }
      socket.call((native) => native.readStart())
      await provoke(socket, far)
      await eventually(() => isOver, what)
      if (!far.destroyed) far.write('more')
      await pause(20)
      t.equal(after, 0, way)
    }
  })
}

test('inside onRead a socket may stop, write, end, and feed a decoder that writes to it', async (t, connect) => {
  const { descriptor, far } = await connect()
  const socket = new WatchedSocket(t, descriptor)
  const framing = present(FRAMINGS.find(({ name }) => name === 'addon')!.load())
  const decoder = framing.createDecoder({ maxMessageBytes: MiB })
  socket.onTold = (what) => {
    if (what !== 'bytes') return
    // Out of the arena, into the very socket that it was read from.
    decoder.push(socket.take(), socket.native)
    if (decoder.payloadBytes === 500_000) socket.call((native) => native.end())
  }
  socket.call((native) => native.readStart())
  const payload = randomBytes(500_000)
  far.write(encodeFrame({ payload: chunk(payload) }))
  t.ok((await readAll(far)).equals(payload))
})

test('reading cannot begin before there is an arena', async (t) => {
  const { Worker } = await import('node:worker_threads')
  const { path } = loadAddon()
  // A thread of its own has none yet.
  const script = `const { once } = require('events')
    const loaded = { exports: {} }
    process.dlopen(loaded, ${JSON.stringify(path)})
    const { LoopbackListener, StreamSocket, readArena } = loaded.exports.sockets
    const listener = new LoopbackListener(0, 1, { onConnection(descriptor) {
      const socket = new StreamSocket(descriptor, { adopt: true, maxQueuedBytes: 1 })
      const told = []
      try { socket.readStart() } catch (error) { told.push(error.constructor.name) }
      readArena()
      socket.readStart()
      socket.destroy()
      listener.close()
      require('worker_threads').parentPort.postMessage(told)
    } })
    require('net').connect(listener.port, '127.0.0.1').resume()`
  const worker = new Worker(script, { eval: true })
  const [told] = await once(worker, 'message')
  t.strictSame(told, ['TypeError'])
  t.equal((await once(worker, 'exit'))[0], 0)
})

/** Whether this process takes next to no CPU while nothing is to be done; a machine under load may need a second look. */
async function rests(ms = 100): Promise<boolean> {
  for (let look = 0; look < 4; look++) {
    const before = process.cpuUsage()
    await pause(ms)
    const { user, system } = process.cpuUsage(before)
    if ((user + system) / 1000 < ms * 0.2) return true
  }
  return false
}

async function sequence<T>(count: number, make: () => Promise<T>): Promise<T[]> {
  const all: T[] = []
  while (all.length < count) all.push(await make())
  return all
}

async function readAll(far: Connection['far']): Promise<Buffer> {
  const pieces: Buffer[] = []
  far.on('data', (piece: Buffer) => pieces.push(piece)).resume()
  await once(far, 'end')
  return Buffer.concat(pieces)
}

function digest(bytes: Buffer): string {
  return createHash('sha256').update(bytes).digest('hex')
}
