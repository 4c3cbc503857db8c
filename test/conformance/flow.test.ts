/**
 * Flow control: whoever stops reading stops the other side, at a bounded price (invariant 6), and loses nothing.
 * The price is what the relay's process holds, garbage aside, and is printed. Its resident set is measured too, against
 * a wider bound: an allocator keeps freed blocks, and shows the highest moment that ever was.
 */
import { createHash, randomBytes } from 'node:crypto'
import t, { type Test } from 'tap'
import { eventually, pause } from '../support/deadline.js'
import { pieces } from '../support/pieces.js'
import type { RawClient } from '../support/raw-client.js'
import { Bench, type Scheme } from './bench.js'
import type { Memory } from './relay-protocol.js'
import { chunk } from './strict-gateway/chunk.js'
import type { GatewayConnection } from './strict-gateway/connection.js'
import { CONTINUATION, encodeFrame, PING } from './strict-gateway/frames.js'

interface Pair {
  readonly client: RawClient
  readonly tunnel: GatewayConnection
}

const SCHEMES: readonly Scheme[] = ['ws', 'wss']
const MIB = 1024 * 1024
const STALLED_TUNNELS = 40
const WHOLE_TUNNELS = 6
const STALLED_LIMIT_BYTES = 1.25 * MIB
const RESIDENT_LIMIT_BYTES = 4 * MIB
// More than the kernel's buffers hold on the way.
const BYTES_EACH = 10 * MIB
const PIECE_BYTES = 512 * 1024
const data = randomBytes(BYTES_EACH)
const sha256 = createHash('sha256').update(data).digest('hex')

for (const scheme of SCHEMES) {
  t.test(`a stalled reader over ${scheme}`, async (t) => {
    const bench = await Bench.start(t, { scheme })
    await bench.test('a client that stops reading costs at most 1.25 MiB, and loses nothing', async (t) => {
      const { before, pairs } = await warmedUp(bench)
      for (const { client } of pairs) client.socket.pause()
      const sent = Promise.allSettled(pairs.map(({ tunnel }) => tunnel.stream(pieces(data, PIECE_BYTES))))
      await standstill(bench)
      await isBounded(t, bench, before, 'stalled reader')
      t.ok((await bench.relay.status()).bytes.down < pairs.length * BYTES_EACH, 'the gateways are held up')
      const whole = fewOf(pairs)
      for (const { client } of whole) client.socket.resume()
      const hashes = whole.map(({ client }) => digest(client.inbox, BYTES_EACH))
      t.same(new Set(await Promise.all(hashes)), new Set([sha256]), 'every byte arrives once it reads again')
      await sent
    })
  })

  t.test(`a stalled gateway over ${scheme}`, async (t) => {
    const bench = await Bench.start(t, { scheme })
    await bench.test('a gateway that stops reading costs at most 1.25 MiB, and loses nothing', async (t) => {
      const { before, pairs } = await warmedUp(bench)
      for (const { tunnel } of pairs) tunnel.stall()
      const sent = Promise.allSettled(pairs.map(({ client }) => client.send(data)))
      await standstill(bench)
      await isBounded(t, bench, before, 'stalled gateway')
      t.ok((await bench.relay.status()).bytes.up < pairs.length * BYTES_EACH, 'the clients are held up')
      const whole = fewOf(pairs)
      for (const { tunnel } of whole) tunnel.resume()
      const hashes = whole.map(({ tunnel }) => digest(tunnel.inbox, BYTES_EACH))
      t.same(new Set(await Promise.all(hashes)), new Set([sha256]), 'every byte arrives once it reads again')
      await sent
    })
  })
}

t.test('what waits, waits at a bounded price', async (t) => {
  const bench = await Bench.start(t)

  await bench.test('bytes that wait for an upgrade cost at most 1.25 MiB, and none is lost', async (t) => {
    const { before, pairs: idle } = await warmedUp(bench)
    for (const { client } of idle) client.end()
    const pairs: Pair[] = []
    for (let i = 0; i < STALLED_TUNNELS; i++) {
      pairs.push({ client: await bench.dial(), tunnel: await bench.gateway.next() })
    }
    const sent = Promise.allSettled(pairs.map(({ client }) => client.send(data)))
    await pause(500)
    await isBounded(t, bench, before, 'waiting for the upgrade')
    const whole = fewOf(pairs)
    for (const { tunnel } of whole) await tunnel.open()
    const hashes = whole.map(({ tunnel }) => digest(tunnel.inbox, BYTES_EACH))
    t.same(new Set(await Promise.all(hashes)), new Set([sha256]))
    await sent
  })

  await bench.test('both sides stalled at once, then both reading, lose nothing', async (t) => {
    const { client, tunnel } = await bench.open()
    client.socket.pause()
    tunnel.stall()
    const sent = [client.send(data), tunnel.stream(pieces(data, PIECE_BYTES))]
    await standstill(bench)
    client.socket.resume()
    tunnel.resume()
    const hashes = await Promise.all([digest(client.inbox, BYTES_EACH), digest(tunnel.inbox, BYTES_EACH)])
    t.same(hashes, [sha256, sha256])
    await Promise.all(sent)
  })

  await bench.test('a slow reader and a slow writer get every byte, in order', async (t) => {
    const { client, tunnel } = await bench.open()
    const trickle = randomBytes(400)
    const written = (async () => {
      for (const byte of trickle) {
        client.write(Buffer.from([byte]))
        await pause(1)
      }
    })()
    const sent = tunnel.stream(pieces(data, PIECE_BYTES))
    // Reads a little at a time, with its buffer full in between.
    const reading = setInterval(
      () => (client.socket.isPaused() ? client.socket.resume() : client.socket.pause()),
      5,
    )
    t.equal(await digest(client.inbox, BYTES_EACH), sha256)
    clearInterval(reading)
    client.socket.resume()
    await Promise.all([sent, written])
    t.same(await tunnel.inbox.read(trickle.length), trickle)
  })

  await bench.test('a stalled tunnel does not hold up another', async (t) => {
    const [stalled, other] = [await bench.open(), await bench.open()]
    stalled.client.socket.pause()
    const sent = stalled.tunnel.stream(pieces(data, PIECE_BYTES))
    await standstill(bench)
    const moved = other.tunnel.stream(pieces(data, PIECE_BYTES))
    t.equal(await digest(other.client.inbox, BYTES_EACH), sha256)
    await moved
    stalled.client.socket.resume()
    t.equal(await digest(stalled.client.inbox, BYTES_EACH), sha256)
    await sent
  })
})

t.test('a gateway that floods', async (t) => {
  const bench = await Bench.start(t)

  await bench.test('pings whose pongs it never reads cost the relay a bounded amount', async (t) => {
    const { client, tunnel } = await bench.open()
    const ping = encodeFrame({ opcode: PING, payload: Buffer.alloc(125) })
    const burst = Buffer.concat(Array.from({ length: 2000 }, () => ping))
    const before = await bench.relay.memory()
    // The relay may hold it up, or cut it off.
    tunnel.provoked().stall()
    const flood = flooding(tunnel, burst, 120)
    await Promise.race([flood, pause(3000)])
    const grown = (await bench.relay.memory()).residentBytes - before.residentBytes
    t.comment(`ping flood: ${mib(grown)} for ${mib(120 * burst.length)} of pings`)
    t.ok(grown < 16 * MIB, `${mib(grown)}`)
    tunnel.resume()
    client.reset()
    await flood
  })

  await bench.test(
    'a message in a hundred thousand fragments costs the relay a bounded amount',
    async (t) => {
      const { client, tunnel } = await bench.open()
      const before = await bench.relay.memory()
      tunnel.provoked().raw(encodeFrame({ payload: chunk(Buffer.alloc(200_000)).subarray(0, 4), fin: false }))
      const fragment = encodeFrame({ opcode: CONTINUATION, payload: Buffer.alloc(1), fin: false })
      await flooding(tunnel, Buffer.concat(Array.from({ length: 1000 }, () => fragment)), 100)
      await pause(100)
      const grown = (await bench.relay.memory()).residentBytes - before.residentBytes
      t.comment(`fragments: ${mib(grown)} for 100,000 of one byte`)
      t.ok(grown < 24 * MIB, `${mib(grown)}`)
      client.reset()
    },
  )

  await bench.test('keepalives without end pass by and change nothing', async (t) => {
    const { client, tunnel } = await bench.open()
    const keepalive = encodeFrame({ payload: chunk('') })
    await flooding(tunnel, Buffer.concat(Array.from({ length: 10_000 }, () => keepalive)), 10)
    tunnel.send('after')
    t.equal((await client.inbox.read(5)).toString(), 'after')
  })
})

/**
 * What the relay's process holds once it has been at work: its code compiled, its heap grown, by tunnels that have
 * gone again. Then the tunnels of the test, open and idle.
 */
async function warmedUp(bench: Bench): Promise<{ before: Memory; pairs: Pair[] }> {
  for (let i = 0; i < 4; i++) {
    const { client, tunnel } = await bench.open()
    const sent = [client.send(data), tunnel.stream(pieces(data, PIECE_BYTES))]
    await Promise.all([digest(client.inbox, BYTES_EACH), digest(tunnel.inbox, BYTES_EACH), ...sent])
    client.end()
    await client.ending
  }
  const before = await bench.relay.memory()
  const pairs: Pair[] = []
  for (let i = 0; i < STALLED_TUNNELS; i++) pairs.push(await bench.open(`t${i}.test:443`))
  return { before, pairs }
}

/** The first of them, to see their bytes arrive; the others are broken off. */
function fewOf(pairs: readonly Pair[]): Pair[] {
  for (const { client, tunnel } of pairs.slice(WHOLE_TUNNELS)) {
    // The gateway's side first: a relay that has paused a client does not see it go.
    tunnel.reset()
    client.reset()
  }
  return pairs.slice(0, WHOLE_TUNNELS)
}

/** Waits until the relay moves no byte any more. */
async function standstill(bench: Bench): Promise<void> {
  let last = -1
  await eventually(async () => {
    const { up, down } = (await bench.relay.status()).bytes
    const still = up + down === last
    last = up + down
    await pause(200)
    return still
  }, 'a standstill')
}

async function isBounded(t: Test, bench: Bench, before: Memory, title: string): Promise<void> {
  const after = await bench.relay.memory()
  const held = (after.heldBytes - before.heldBytes) / STALLED_TUNNELS
  const resident = (after.residentBytes - before.residentBytes) / STALLED_TUNNELS
  const measured = `${title} (${bench.scheme}): ${mib(held)} held a tunnel, ${mib(resident)} resident`
  t.comment(`${measured}, ${STALLED_TUNNELS} tunnels`)
  t.ok(held <= STALLED_LIMIT_BYTES, measured)
  t.ok(resident <= RESIDENT_LIMIT_BYTES, measured)
}

async function flooding(tunnel: GatewayConnection, burst: Buffer, times: number): Promise<void> {
  for (let i = 0; i < times && !tunnel.socket.destroyed; i++) {
    await new Promise((resolve) => tunnel.socket.write(burst, resolve))
  }
}

async function digest(inbox: RawClient['inbox'], bytes: number): Promise<string> {
  const hash = createHash('sha256')
  for (let left = bytes; left > 0; ) {
    const piece = await inbox.next()
    if (!piece) return `${left} bytes short`
    hash.update(piece)
    left -= piece.length
  }
  return hash.digest('hex')
}

function mib(bytes: number): string {
  return `${(bytes / MIB).toFixed(2)} MiB`
}
