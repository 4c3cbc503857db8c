/** What every SocketWriter must do: real sockets, over TCP and Unix sockets. */
import { createHash, randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { constants } from 'node:os'
import type { Test } from 'tap'
import type { SystemCallError } from '#src/platform/process-control.js'
import { caught } from '../support/caught.js'
import { eventually, pause, within } from '../support/deadline.js'
import type { OpenWriter } from './implementations.js'
import { fill, type Kind, type Pair, pairs, readAll, WatchedWriter } from './socket-pair.js'

const MiB = 1024 * 1024
const BROKEN = ['ECONNRESET', 'EPIPE']

export async function socketWriterSuite(t: Test, open: OpenWriter, kind: Kind): Promise<void> {
  const test = (title: string, run: (t: Test, pair: () => Promise<Pair>) => Promise<void>) =>
    t.test(title, { timeout: 60_000 }, async (t) => run(t, await pairs(t, kind)))

  await test('64 MiB in writes of any size reach a slow reader whole and in order', async (t, pair) => {
    const { near, far } = await pair()
    const writer = new WatchedWriter(t, open, near, MiB)
    const [sent, received] = [createHash('sha256'), createHash('sha256')]
    let [receivedBytes, queues] = [0, 0]
    far.on('data', (piece: Buffer) => {
      received.update(piece)
      receivedBytes += piece.length
      // Every other mebibyte or so a while of silence.
      if (receivedBytes % (2 * MiB) < piece.length) {
        far.pause()
        setTimeout(() => far.resume(), 3)
      }
    })
    const source = randomBytes(MiB)
    const ended = once(far, 'end')
    far.resume()
    let sentBytes = 0
    while (sentBytes < 64 * MiB) {
      const length = Math.floor(Math.random() ** 3 * 300_000)
      const at = Math.floor(Math.random() * (source.length - length))
      const lent = Buffer.from(source.subarray(at, at + length))
      sent.update(lent)
      sentBytes += length
      const middle = Math.floor(length / 3)
      const told = writer.told.length
      const queued = writer.write(lent.subarray(0, middle), lent.subarray(middle))
      lent.fill(0x55)
      if (queued === 0) continue
      queues += 1
      if (queued > MiB - 300_000) await writer.tellings(told + 1)
    }
    writer.end()
    await within(ended, 'the end', 50_000)
    t.equal(receivedBytes, sentBytes)
    t.equal(received.digest('hex'), sent.digest('hex'))
    t.ok(queues > 10, `the queue was used: ${queues} times`)
    // The far side may see the end before this one is told of it.
    await eventually(() => writer.codes.at(-1) === 'closed', 'the end to be told')
    t.strictSame([...new Set(writer.codes.slice(0, -1))], ['drained'])
  })

  await test('what the kernel takes at once leaves no queue, and no callback comes', async (t, pair) => {
    const { near, far } = await pair()
    const writer = new WatchedWriter(t, open, near)
    const received: Buffer[] = []
    far.on('data', (piece: Buffer) => received.push(piece)).resume()
    for (let i = 0; i < 100; i++) t.equal(writer.write(`${i} `, 'x'.repeat(100)), 0)
    t.equal(writer.queuedBytes, 0)
    const expected = Array.from({ length: 100 }, (_, i) => `${i} ${'x'.repeat(100)}`).join('')
    await eventually(() => Buffer.concat(received).length >= expected.length, 'what was written')
    t.equal(Buffer.concat(received).toString(), expected)
    await pause(20)
    t.strictSame(writer.told, [])
  })

  await test('a stalled reader fills the queue; each emptying of it is told once', async (t, pair) => {
    const { near, far } = await pair()
    const writer = new WatchedWriter(t, open, near)
    const given: Buffer[] = []
    const received: Buffer[] = []
    far.on('data', (piece: Buffer) => received.push(piece))
    for (let round = 1; round <= 3; round++) {
      far.pause()
      // The kernel's buffers may have grown, and take what was queued after all: full is what stays so.
      do {
        given.push(fill(writer, 2 * MiB))
        await pause(20)
      } while (writer.queuedBytes === 0)
      const told = writer.told.length
      const before = writer.queuedBytes
      t.equal(writer.write('more'), before + 4, 'behind a queue all waits')
      given.push(Buffer.from('more'))
      await pause(20)
      t.equal(writer.told.length, told, 'nothing is told while it waits')
      far.resume()
      await writer.tellings(told + 1)
      t.equal(writer.queuedBytes, 0)
      await pause(20)
      t.equal(writer.told.length, told + 1, 'told once')
    }
    const expected = Buffer.concat(given)
    await eventually(() => received.reduce((sum, { length }) => sum + length, 0) === expected.length, 'all')
    t.ok(Buffer.concat(received).equals(expected))
    t.strictSame([...new Set(writer.codes)], ['drained'])
  })

  await test('a write over the cap is refused whole, before a byte is sent', async (t, pair) => {
    const { near, far } = await pair()
    const cap = 256 * 1024
    const writer = new WatchedWriter(t, open, near, cap)
    t.match(
      caught(() => writer.write(Buffer.alloc(cap), 'x')),
      shaped('ENOBUFS'),
    )
    t.equal(writer.write('begin'), 0, 'and it goes on')
    const filled = fill(writer)
    const room = cap - writer.queuedBytes
    t.match(
      caught(() => writer.write(Buffer.alloc(room, 1), 'x')),
      shaped('ENOBUFS'),
    )
    t.equal(writer.queuedBytes, cap - room, 'the queue is as it was')
    t.equal(writer.write(Buffer.alloc(room, 'r')), cap, 'to the cap it goes')
    t.match(
      caught(() => writer.write('x')),
      shaped('ENOBUFS'),
    )
    t.equal(writer.write(), cap, 'nothing always fits')
    writer.end()
    const received = await readAll(far)
    t.ok(received.equals(Buffer.concat([Buffer.from('begin'), filled, Buffer.alloc(room, 'r')])))
  })

  await test('a cap is a number of bytes, or Infinity', async (t, pair) => {
    const { near, far } = await pair()
    for (const maxQueuedBytes of [undefined, -1, '9', Number.NaN])
      t.throws(() => open(near, { maxQueuedBytes: maxQueuedBytes as number }), TypeError, `${maxQueuedBytes}`)
    const none = new WatchedWriter(t, open, near, 0)
    t.match(
      caught(() => none.write('x')),
      shaped('ENOBUFS'),
    )
    t.equal(none.write(''), 0)
    const writer = new WatchedWriter(t, open, near, Number.POSITIVE_INFINITY)
    const given = fill(writer, 32 * MiB, 8 * MiB)
    writer.end()
    t.ok((await readAll(far)).equals(given))
  })

  await test('an end flushes, then shuts down the writing side, and is told once', async (t, pair) => {
    const { near, far } = await pair()
    const writer = new WatchedWriter(t, open, near)
    const given = fill(writer, 4 * MiB)
    writer.end()
    writer.end()
    t.match(
      caught(() => writer.write('x')),
      shaped('EPIPE'),
      'nothing can be written after it',
    )
    await pause(20)
    t.strictSame(writer.told, [], 'nothing is told while it waits')
    t.ok((await readAll(far)).equals(given))
    await writer.tellings(1)
    writer.end()
    t.match(
      caught(() => writer.write('x')),
      shaped('EPIPE'),
    )
    await pause(20)
    t.strictSame(writer.codes, ['closed'])
    // Only the writing side: what the other end says still comes.
    const answer = once(near, 'data')
    far.write('answer')
    t.equal(String((await within(answer, 'the answer'))[0]), 'answer')
  })

  await test('an end with nothing queued is told too, after the call', async (t, pair) => {
    const { near, far } = await pair()
    const writer = new WatchedWriter(t, open, near)
    writer.write('all')
    writer.end()
    t.strictSame(writer.told, [])
    t.equal((await readAll(far)).toString(), 'all')
    await writer.tellings(1)
    t.strictSame(writer.codes, ['closed'])
  })

  await test('a peer that resets while bytes wait is told once, and later calls throw it', async (t, pair) => {
    const { near, far } = await pair()
    const writer = new WatchedWriter(t, open, near)
    fill(writer, MiB)
    breakOff(far, kind)
    await writer.tellings(1)
    const [error] = writer.told
    t.match(error, shaped((error as SystemCallError).code))
    t.ok(BROKEN.includes((error as SystemCallError).code), String(writer.codes[0]))
    t.equal(writer.queuedBytes, 0, 'the queue is gone')
    for (const call of [() => writer.write('x'), () => writer.end()])
      t.equal((caught(call) as SystemCallError | undefined)?.code, writer.codes[0])
    writer.destroy()
    await pause(20)
    t.equal(writer.told.length, 1)
  })

  await test('a peer that resets while an end waits is told as a failure, not as closed', async (t, pair) => {
    const { near, far } = await pair()
    const writer = new WatchedWriter(t, open, near)
    fill(writer, MiB)
    writer.end()
    breakOff(far, kind)
    await writer.tellings(1)
    await pause(20)
    t.equal(writer.told.length, 1)
    t.ok(BROKEN.includes(String(writer.codes[0])), String(writer.codes[0]))
  })

  await test('a peer that resets while nothing waits is met by a write, which throws', async (t, pair) => {
    const { near, far } = await pair()
    const writer = new WatchedWriter(t, open, near)
    writer.write('hello')
    breakOff(far, kind)
    let error: unknown
    await eventually(() => {
      error = caught(() => writer.write('x'))
      return error !== undefined
    }, 'a write that fails')
    const { code } = error as SystemCallError
    t.ok(BROKEN.includes(code), code)
    t.match(error, shaped(code))
    t.match(
      caught(() => writer.write('x')),
      { code },
      'and the same again',
    )
    t.match(
      caught(() => writer.end()),
      { code },
    )
    await pause(20)
    t.strictSame(writer.told, [], 'what was thrown is not told again')
  })

  await test('destruction drops the queue: no callback, no end, no reset', async (t, pair) => {
    const { near, far } = await pair()
    const writer = new WatchedWriter(t, open, near)
    const given = fill(writer, 16 * MiB, MiB)
    const queued = writer.queuedBytes
    writer.destroy()
    writer.destroy()
    t.equal(writer.queuedBytes, 0)
    for (const call of [() => writer.write('x'), () => writer.end()]) t.match(caught(call), shaped('EPIPE'))
    t.notOk(near.destroyed, "the socket is its owner's")
    const received = readAll(far)
    await pause(50)
    near.end('after')
    const bytes = await received
    t.equal(bytes.subarray(-5).toString(), 'after')
    const before = bytes.subarray(0, -5)
    t.ok(before.equals(given.subarray(0, before.length)), 'what came is the beginning')
    // One slice may have been on its way.
    t.ok(before.length <= given.length - queued + MiB / 8, `${before.length} of ${given.length}`)
    t.strictSame(writer.told, [])
  })

  await test('destruction between an end and its news leaves no callback', async (t, pair) => {
    const { near } = await pair()
    const writer = new WatchedWriter(t, open, near)
    writer.end()
    writer.destroy()
    await pause(20)
    t.strictSame(writer.told, [])
  })

  await test('thousands of pieces, empty ones among them, go in order', async (t, pair) => {
    const { near, far } = await pair()
    const writer = new WatchedWriter(t, open, near)
    t.equal(writer.write(), 0)
    t.equal(writer.write('', ''), 0)
    const tiny = Array.from({ length: 5000 }, (_, i) => (i % 3 === 0 ? '' : `${i},`))
    writer.write(...tiny)
    // And into a queue.
    const filled = fill(writer)
    writer.write(...tiny)
    writer.write('', 'end', '')
    writer.end()
    const expected = Buffer.concat([Buffer.from(tiny.join('')), filled, Buffer.from(`${tiny.join('')}end`)])
    t.ok((await readAll(far)).equals(expected))
  })

  await test('a callback may write, end and destroy', async (t, pair) => {
    const { near, far } = await pair()
    const writer = new WatchedWriter(t, open, near)
    const given = [fill(writer)]
    let rounds = 0
    writer.onTold = () => {
      if (writer.codes.at(-1) !== 'drained') return
      rounds += 1
      if (rounds < 5) {
        const more = Buffer.alloc(8 * MiB, rounds)
        writer.write(more)
        given.push(more)
      } else writer.end()
    }
    const received = await readAll(far)
    await writer.tellings(6)
    t.ok(received.equals(Buffer.concat(given)))
    t.strictSame(writer.codes, [...Array(5).fill('drained'), 'closed'])

    const { near: other, far: reader } = await pair()
    const second = new WatchedWriter(t, open, other)
    fill(second)
    second.onTold = () => second.destroy()
    reader.resume()
    await second.tellings(1)
    await pause(20)
    t.strictSame(second.codes, ['drained'])
  })

  await test('the other direction goes on meanwhile', async (t, pair) => {
    const { near, far } = await pair()
    const writer = new WatchedWriter(t, open, near)
    const up = randomBytes(8 * MiB)
    const down = randomBytes(8 * MiB)
    const [gotUp, gotDown] = [readAll(near), readAll(far)]
    for (let at = 0; at < down.length; at += 100_000) {
      writer.write(down.subarray(at, at + 100_000))
      far.write(up.subarray(at, at + 100_000))
      if (at % 1_000_000 === 0) await pause(0)
    }
    writer.end()
    far.end()
    t.ok((await gotUp).equals(up))
    t.ok((await gotDown).equals(down))
  })

  await test('many writers keep their bytes apart', async (t, pair) => {
    const connections: { writer: WatchedWriter; far: Pair['far']; bytes: Buffer }[] = []
    while (connections.length < 100) {
      const { near, far } = await pair()
      connections.push({ writer: new WatchedWriter(t, open, near), far, bytes: randomBytes(MiB) })
    }
    for (let at = 0; at < MiB; at += 65_536)
      for (const { writer, bytes } of connections) writer.write(bytes.subarray(at, at + 65_536))
    for (const { writer } of connections) writer.end()
    const received = await Promise.all(connections.map(({ far }) => readAll(far)))
    t.ok(received.every((bytes, i) => bytes.equals(connections[i]!.bytes)))
    await Promise.all(
      connections.map(({ writer }) => eventually(() => writer.codes.includes('closed'), 'closed')),
    )
  })
}

// A peer that goes away with bytes unread: over TCP that is a reset, of a Unix socket the kernel says EPIPE.
function breakOff(far: Pair['far'], kind: Kind): void {
  if (kind === 'tcp') far.resetAndDestroy()
  else far.destroy()
}

function shaped(code: string) {
  const errno = constants.errno[code as keyof typeof constants.errno]
  return { constructor: Error, code, errno, syscall: /^[a-z_]+$/, message: new RegExp(code) }
}
