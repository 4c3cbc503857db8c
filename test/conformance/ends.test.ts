/**
 * How tunnels end: a clean end stays clean, a broken one is a reset, whatever the relay has received comes before
 * either, and its own answers only where the gateway has not spoken (invariants 4 and 5).
 */
import { randomBytes } from 'node:crypto'
import t, { type Test } from 'tap'
import { eventually, pause, within } from '../support/deadline.js'
import { pieces } from '../support/pieces.js'
import type { RawClient } from '../support/raw-client.js'
import { Bench, groups, isOwnAnswer } from './bench.js'
import { BROKEN_CHUNKS, BROKEN_FRAMES, OVERSIZED } from './illegal.js'
import { chunk } from './strict-gateway/chunk.js'
import { ESTABLISHED, type GatewayConnection } from './strict-gateway/connection.js'
import { BINARY, encodeFrame } from './strict-gateway/frames.js'

const VIOLATIONS = [...BROKEN_FRAMES, ...BROKEN_CHUNKS, ...OVERSIZED]

type Act = (tunnel: GatewayConnection) => void

const CUT = 'never complete'
// Cut before its first byte of payload, and behind some.
const HALF_A_HEAD = encodeFrame({ payload: chunk(CUT) }).subarray(0, 3)
const HALF_A_FRAME = encodeFrame({ payload: chunk(CUT) }).subarray(0, 7)
const CLEAN: readonly (readonly [title: string, end: Act])[] = [
  ['Close 1000', (tunnel) => tunnel.close(1000)],
  ['Close 1000 with a reason', (tunnel) => tunnel.close(1000, 'done')],
  ['Close without a code', (tunnel) => tunnel.close()],
  ['FIN between messages', (tunnel) => tunnel.fin()],
]
const BROKEN: readonly (readonly [title: string, end: Act, code: string])[] = [
  ...[1001, 1002, 1003, 1007, 1008, 1009, 1011, 1012, 1014, 3000, 4999].map(
    (code) =>
      [`Close ${code}`, (tunnel: GatewayConnection) => tunnel.close(code), 'ERR_GATEWAY_CLOSED'] as const,
  ),
  [
    'FIN inside a frame',
    (tunnel) => {
      tunnel.raw(HALF_A_HEAD)
      tunnel.fin()
    },
    'ERR_GATEWAY_LOST',
  ],
  [
    'FIN inside a frame header',
    (tunnel) => {
      tunnel.raw(HALF_A_HEAD.subarray(0, 1))
      tunnel.fin()
    },
    'ERR_GATEWAY_LOST',
  ],
  [
    'FIN between the fragments of a message',
    (tunnel) => {
      tunnel.frame({ opcode: BINARY, fin: false, payload: chunk('x') })
      tunnel.fin()
    },
    'ERR_GATEWAY_LOST',
  ],
  ['RST', (tunnel) => tunnel.reset(), 'ERR_GATEWAY_LOST'],
]

const LIMITS = { closeTimeoutMs: 400 }
for (const bench of [
  await Bench.start(t, { scheme: 'ws', limits: LIMITS }),
  await Bench.start(t, { scheme: 'wss', limits: LIMITS }),
]) {
  await bench.test('a gateway that ends well: everything is flushed, then FIN', async (t) => {
    for (const [title, end] of CLEAN) {
      const { client, tunnel } = await bench.open()
      const failures = (await bench.relay.status()).failures.length
      const down = randomBytes(1024 * 1024)
      tunnel.send(down)
      end(tunnel)
      await isEnd(t, client, down, 'fin', title)
      await within(tunnel.over, title)
      t.equal((await bench.relay.status()).failures.length, failures, `${title}: no failure`)
    }
  })

  await bench.test(
    'a gateway that ends well while the client reads slowly: not a byte is missing',
    async (t) => {
      for (const [title, end] of CLEAN) {
        const { client, tunnel } = await bench.open()
        client.socket.pause()
        const down = randomBytes(12 * 1024 * 1024)
        for (const piece of pieces(down, 1024 * 1024)) tunnel.send(piece)
        end(tunnel)
        await pause(100)
        client.socket.resume()
        await isEnd(t, client, down, 'fin', title)
      }
    },
  )

  await bench.test(
    'a client that reads long after the end still gets every byte and a clean end',
    async (t) => {
      const { client, tunnel } = await bench.open()
      client.socket.pause()
      // Little enough for the kernel's buffers: the relay itself has nothing left to do.
      const down = randomBytes(1024 * 1024)
      tunnel.send(down)
      tunnel.close(1000)
      await pause(4 * LIMITS.closeTimeoutMs)
      client.socket.resume()
      await isEnd(t, client, down, 'fin', 'late')
    },
  )

  await bench.test(
    'a gateway that ends otherwise while the client reads slowly: all is flushed, then RST',
    async (t) => {
      const { client, tunnel } = await bench.open()
      client.socket.pause()
      const down = randomBytes(12 * 1024 * 1024)
      for (const piece of pieces(down, 1024 * 1024)) tunnel.send(piece)
      tunnel.close(1011)
      await pause(100)
      client.socket.resume()
      await isEnd(t, client, down, 'rst', 'slow')
    },
  )

  // Where bytes and a reset arrive in one wake-up, libuv reports the bytes and then a clean end.
  await bench.test('a gateway whose RST comes right behind its bytes has not ended well', async (t) => {
    for (let i = 0; i < 10; i++) {
      const { client, tunnel } = await bench.open()
      tunnel.send('some bytes')
      tunnel.reset()
      t.equal((await client.rest()).ending, 'rst')
      t.equal(await bench.lastFailure(), 'ERR_GATEWAY_LOST')
    }
  })

  await bench.test(
    'a gateway that ends well while the client is still sending: the client reads a clean end',
    async (t) => {
      for (const [title, end] of CLEAN) {
        const { client, tunnel } = await bench.open()
        const down = randomBytes(256 * 1024)
        client.write(Buffer.alloc(4 * 1024 * 1024, 'u'))
        tunnel.send(down)
        end(tunnel)
        await isEnd(t, client, down, 'fin', title)
      }
    },
  )

  await bench.test('a gateway that ends otherwise: everything received is flushed, then RST', async (t) => {
    for (const rows of groups(BROKEN)) {
      const opened = await openAll(bench, rows)
      const ends = opened.map(async ({ client, tunnel, row: [title, end] }) => {
        const down = randomBytes(256 * 1024)
        tunnel.send(down)
        // A reset may overtake on the gateway's own side what the relay has not read yet.
        if (title === 'RST')
          await eventually(() => client.inbox.waiting === down.length, 'the bytes before the RST')
        end(tunnel)
        await isEnd(t, client, down, 'rst', title)
      })
      await Promise.all(ends)
      t.same(await bench.lastFailures(rows.length), rows.map(([, , code]) => code).sort())
    }
  })

  // An engine may hand on what is certain before a message is complete, and need not.
  await bench.test('a message that is cut: some of it at most, then RST', async (t) => {
    const { client, tunnel } = await bench.open()
    tunnel.send('whole; ')
    tunnel.raw(HALF_A_FRAME)
    tunnel.fin()
    const { bytes, ending } = await client.rest()
    t.ok(`whole; ${CUT}`.startsWith(bytes.toString()) && bytes.length >= 'whole; '.length, String(bytes))
    t.equal(ending, 'rst')
    t.equal(await bench.lastFailure(), 'ERR_GATEWAY_LOST')
  })

  await bench.test(
    'a gateway that breaks the protocol: everything before is flushed, then RST',
    async (t) => {
      for (const rows of groups(VIOLATIONS)) {
        const opened = await openAll(bench, rows)
        const ends = opened.map(async ({ client, tunnel, row: { title, bytes } }) => {
          tunnel.provoked().send('good bytes')
          tunnel.raw(bytes)
          tunnel.send('bytes that nobody may see')
          await isEnd(t, client, Buffer.from('good bytes'), 'rst', title)
          await within(tunnel.over, `${title}: the end of the WebSocket`)
        })
        await Promise.all(ends)
        t.same(await bench.lastFailures(rows.length), rows.map(({ code }) => code).sort())
      }
    },
  )

  await bench.test('a gateway gone after the upgrade, before its first byte: 502', async (t) => {
    const clean = CLEAN.map(([title, end]) => [title, end, 'ERR_GATEWAY_CLOSED_EARLY'] as const)
    for (const [title, end, code] of [...clean, ...BROKEN]) {
      for (const alsoKeepalive of [false, true]) {
        const { client, tunnel } = await bench.dialled()
        if (alsoKeepalive) tunnel.send('')
        end(tunnel)
        await isOwnAnswer(t, client, 502, code, title)
      }
    }
  })

  await bench.test('a gateway that breaks the protocol before its first byte: 502', async (t) => {
    for (const { title, bytes, code } of VIOLATIONS) {
      const { client, tunnel } = await bench.dialled()
      tunnel.provoked().raw(bytes)
      await isOwnAnswer(t, client, 502, code, title)
    }
  })

  await bench.test('once the gateway has spoken, no byte of the relay’s own follows', async (t) => {
    for (const spoken of ['H', 'HTTP/1.1 2', 'HTTP/1.1 200 Connection Est', ESTABLISHED]) {
      const ends: Promise<void>[] = []
      for (const [title, end] of BROKEN) {
        const { client, tunnel } = await bench.dialled()
        tunnel.send(spoken)
        if (title === 'RST') await eventually(() => client.inbox.waiting > 0, 'the bytes before the RST')
        end(tunnel)
        ends.push(isEnd(t, client, Buffer.from(spoken), 'rst', `${title} after ${JSON.stringify(spoken)}`))
      }
      await Promise.all(ends)
    }
  })

  await bench.test('an answer that is no HTTP is passed on, never followed by a clean end', async (t) => {
    const { client, tunnel } = await bench.dialled()
    tunnel.provoked().send('SSH-2.0-OpenSSH\r\n')
    t.equal((await client.rest()).ending, 'rst')
    t.equal(await bench.lastFailure(), 'ERR_GATEWAY_PROTOCOL')
  })
}

async function isEnd(t: Test, client: RawClient, expected: Buffer, ending: 'fin' | 'rst', title: string) {
  const rest = await client.rest()
  t.equal(rest.bytes.length, expected.length, `${title}: so many bytes`)
  t.ok(rest.bytes.equals(expected), `${title}: those bytes`)
  t.equal(rest.ending, ending, `${title}: ${ending}`)
}

/** A tunnel for each row, opened one after the other. */
async function openAll<Row>(bench: Bench, rows: readonly Row[]) {
  const opened: { client: RawClient; tunnel: GatewayConnection; row: Row }[] = []
  for (const row of rows) opened.push({ ...(await bench.open()), row })
  return opened
}
