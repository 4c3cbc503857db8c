/** What is true of the addon's SocketWriter alone: it has a descriptor of its own. */
import { createSocket } from 'node:dgram'
import { once } from 'node:events'
import { closeSync, openSync, readdirSync, readlinkSync } from 'node:fs'
import { constants } from 'node:os'
import t from 'tap'
import { loadAddon } from '#src/platform/addon.js'
import type { SocketWriterOptions } from '#src/platform/socket-writer.js'
import { chunk } from '../conformance/strict-gateway/chunk.js'
import { encodeFrame } from '../conformance/strict-gateway/frames.js'
import { eventually } from '../support/deadline.js'
import { descriptorOf, FRAMINGS, present, skipping, WRITERS } from './implementations.js'
import { fill, pairs, readAll, WatchedWriter } from './socket-pair.js'

const open = WRITERS.find(({ name }) => name === 'addon')!.load()
const needsAddon = skipping(open)
const OPTIONS: SocketWriterOptions = { maxQueuedBytes: 1024 }

t.test(
  'a descriptor that cannot be written to as a stream is refused with its reason',
  needsAddon,
  async (t) => {
    const Writer = loadAddon().addon!.sockets!.StreamSocket
    const file = openSync('/dev/null', 'w')
    const datagrams = createSocket('udp4').bind(0, '127.0.0.1')
    await once(datagrams, 'listening')
    t.teardown(() => datagrams.close())
    const udp = (datagrams as unknown as Record<symbol, { handle: { fd: number } }>)[
      Object.getOwnPropertySymbols(datagrams).find((symbol) => symbol.description === 'state symbol')!
    ]!.handle.fd
    for (const [descriptor, code] of [
      [file, 'ENOTSOCK'],
      [udp, 'EPROTOTYPE'],
      [-1, 'EBADF'],
      [2 ** 31 - 1, 'EBADF'],
      [2 ** 32 + file, 'EBADF'],
      [2 ** 53, 'EBADF'],
      [Number.POSITIVE_INFINITY, 'EBADF'],
      [Number.NaN, 'EBADF'],
    ] as const)
      t.throws(() => new Writer(descriptor, OPTIONS), { code, errno: constants.errno[code] }, `${descriptor}`)
    closeSync(file)
    t.throws(() => new Writer(file, OPTIONS), { code: 'EBADF' }, 'closed')
  },
)

t.test('nonsense is a TypeError', needsAddon, async (t) => {
  const addon = loadAddon().addon!
  const Writer = addon.sockets!.StreamSocket as unknown as new (
    ...args: unknown[]
  ) => { write(pieces: unknown): number }
  const { near } = await (await pairs(t, 'tcp'))()
  const descriptor = descriptorOf(near)
  for (const args of [
    [],
    ['1', OPTIONS],
    [descriptor],
    [descriptor, {}],
    [descriptor, null],
    [descriptor, { maxQueuedBytes: -1 }],
    [descriptor, { maxQueuedBytes: '9' }],
  ])
    t.throws(() => new Writer(...args), TypeError, JSON.stringify(args.slice(1)))
  const writer = new Writer(descriptor, OPTIONS)
  for (const pieces of [undefined, null, 'text', {}, [1], ['text'], [new Uint16Array(2)], [undefined]])
    t.throws(() => writer.write(pieces), TypeError, JSON.stringify(pieces))
  t.throws(() => (writer.write as unknown as () => void).call({}), TypeError, 'a foreign receiver')
  t.throws(() => (addon.sockets!.StreamSocket as unknown as () => void)(), TypeError, 'without new')
  t.equal(writer.write([Buffer.from('x')]), 0, 'and it goes on')
})

for (const kind of ['tcp', 'unix'] as const) {
  t.test(`the writer goes on when the original is closed (${kind})`, needsAddon, async (t) => {
    const { near, far } = await (await pairs(t, kind))()
    const writer = new WatchedWriter(t, present(open), near)
    const given = fill(writer, 1024 * 1024)
    near.destroy()
    await eventually(() => near.closed, 'the original is closed')
    writer.write('more')
    writer.end()
    t.ok((await readAll(far)).equals(Buffer.concat([given, Buffer.from('more')])))
    await writer.tellings(1)
    t.strictSame(writer.codes, ['closed'])
    writer.destroy()
  })
}

t.test('the descriptor is duplicated, and closed with the writer', needsAddon, async (t) => {
  const { near, far } = await (await pairs(t, 'tcp'))()
  const socket = readlinkSync(`/proc/self/fd/${descriptorOf(near)}`)
  t.equal(copiesOf(socket), 1)
  const [one, other] = [1, 2].map(() => new WatchedWriter(t, present(open), near))
  t.equal(copiesOf(socket), 3)
  one!.destroy()
  t.equal(copiesOf(socket), 2, 'destroyed')
  fill(other!, 1)
  far.resetAndDestroy()
  await other!.tellings(1)
  await eventually(() => copiesOf(socket) <= 1, 'closed with the failure')
})

t.test('payload goes from the decoder to a native writer in the same call', needsAddon, async (t) => {
  const { near, far } = await (await pairs(t, 'tcp'))()
  const writer = new (loadAddon().addon!.sockets!.StreamSocket)(descriptorOf(near), {
    maxQueuedBytes: 64 * 1024 * 1024,
  })
  const decoder = present(FRAMINGS.find(({ name }) => name === 'addon')!.load()).createDecoder({
    maxMessageBytes: 16 * 1024 * 1024,
  })
  // Pieces of every size: those that are copied side by side, those that are not, and lists longer than one call takes.
  const payloads = Array.from({ length: 3000 }, (_, i) => Buffer.alloc((i * i) % 1500, i))
  const large = Buffer.alloc(8 * 1024 * 1024, 'L')
  const fragmented = chunk(Buffer.alloc(100_000, 'F'))
  const stream = Buffer.concat([
    ...payloads.map((payload) => encodeFrame({ payload: chunk(payload) })),
    encodeFrame({ payload: fragmented.subarray(0, 5), fin: false }),
    encodeFrame({ payload: fragmented.subarray(5), opcode: 0 }),
    encodeFrame({ payload: chunk(large) }),
  ])
  t.equal(decoder.push(stream, writer), 1 | 32, 'payload, and a queue')
  stream.fill(0)
  t.ok(writer.queuedBytes > 0)
  t.strictSame(decoder.takePayload(), [])
  writer.end()
  t.ok((await readAll(far)).equals(Buffer.concat([...payloads, Buffer.alloc(100_000, 'F'), large])))
  t.throws(() => decoder.push(encodeFrame({ payload: chunk('x') }), writer), { code: 'EPIPE' })
  writer.destroy()
})

// Other writers of the process may come and go: the socket's own name tells its descriptors.
function copiesOf(socket: string): number {
  return readdirSync('/proc/self/fd').filter((name) => linkOf(name) === socket).length
}

function linkOf(name: string): string | undefined {
  try {
    return readlinkSync(`/proc/self/fd/${name}`)
  } catch {
    return undefined // the descriptor of the listing itself
  }
}
