/** A gateway that keeps to the letter, or nearly, and means harm: floods, tiny frames, cuts everywhere, resets at once. */
import { createHash, randomBytes } from 'node:crypto'
import t from 'tap'
import { eventually, pause, within } from '../support/deadline.js'
import { pieces } from '../support/pieces.js'
import { Bench, isOwnAnswer } from './bench.js'
import { fragments } from './legal.js'
import { chunk } from './strict-gateway/chunk.js'
import { ESTABLISHED, type GatewayConnection } from './strict-gateway/connection.js'
import { encodeFrame, PING, PONG } from './strict-gateway/frames.js'

const MIB = 1024 * 1024

for (const scheme of ['ws', 'wss'] as const) {
  t.test(`a hostile gateway over ${scheme}`, async (t) => {
    const bench = await Bench.start(t, { scheme })

    await bench.test(
      'three hundred thousand chunks of one byte pass whole, at a bounded price',
      async (t) => {
        const { client, tunnel } = await bench.open()
        const data = randomBytes(300_000)
        // One after the other in large writes: what the relay reads at once holds thousands of them.
        const frames = Array.from(data, (byte) => encodeFrame({ payload: chunk(Buffer.from([byte])) }))
        const before = await bench.relay.memory()
        const sent = flooding(
          tunnel,
          pieces(Buffer.concat(frames), 64 * 1024).map((piece) => Buffer.from(piece)),
        )
        t.ok((await client.inbox.read(data.length)).equals(data))
        await sent
        const grown = (await bench.relay.memory()).heldBytes - before.heldBytes
        t.comment(`held for 300,000 chunks of one byte (${scheme}): ${(grown / MIB).toFixed(2)} MiB`)
        t.ok(grown < 8 * MIB, `${grown}`)
      },
    )

    await bench.test(
      'pings without end, while it reads nothing, cost a bounded amount and no byte of the upload',
      async (t) => {
        const { client, tunnel } = await bench.open()
        const upload = randomBytes(12 * MIB)
        const before = await bench.relay.memory()
        tunnel.provoked().stall()
        const sent = client.send(upload)
        await pause(200)
        const flood = Buffer.concat(
          Array.from({ length: 2000 }, (_, i) =>
            encodeFrame({ opcode: PING, payload: Buffer.alloc(125, i) }),
          ),
        )
        // 33 MiB of them; the relay may hold it up, and then they go once it reads again.
        const flooded = flooding(tunnel, Array(125).fill(flood))
        await Promise.race([flooded, pause(2000)])
        const after = await bench.relay.memory()
        const [held, resident] = [
          after.heldBytes - before.heldBytes,
          after.residentBytes - before.residentBytes,
        ]
        t.comment(
          `ping flood over a stalled upload (${scheme}): ${(held / MIB).toFixed(2)} MiB held, ${(resident / MIB).toFixed(2)} MiB resident`,
        )
        t.ok(held < 16 * MIB, `${held} held`)
        t.ok(resident < 48 * MIB, `${resident} resident`)
        tunnel.resume()
        const arrived = await digest(tunnel, upload.length)
        await within(sent, 'the upload', 30_000)
        t.equal(arrived, createHash('sha256').update(upload).digest('hex'))
        await flooded
        // The last ping has its pong, whatever became of those before it.
        const last = randomBytes(8)
        tunnel.frame({ opcode: PING, payload: last })
        await eventually(() => tunnel.pongs.some((pong) => pong.equals(last)), 'the last pong')
        t.ok(tunnel.pongs.length <= 250_001)
      },
    )

    await bench.test(
      'what it sends, cut in two at any byte, or into single bytes, is the same',
      async (t) => {
        const bytes = Buffer.concat([
          encodeFrame({ payload: chunk(ESTABLISHED) }),
          encodeFrame({ opcode: PING, payload: Buffer.from('ping') }),
          ...fragments(chunk(Buffer.alloc(40, 'F')), 11).map((frame) => encodeFrame(frame)),
          encodeFrame({}),
          encodeFrame({ payload: chunk('') }),
          encodeFrame({ opcode: PONG }),
          // A length of two bytes, and one of eight.
          encodeFrame({ payload: chunk(Buffer.alloc(130, 'M')) }),
          encodeFrame({ payload: chunk(Buffer.alloc(66_000, 'L')) }),
          encodeFrame({ payload: chunk('end') }),
        ])
        const expected = `${ESTABLISHED}${'F'.repeat(40)}${'M'.repeat(130)}${'L'.repeat(66_000)}end`
        const large = bytes.length - 66_000
        const near = Array.from({ length: large - 5 }, (_, i) => i + 1)
        const cuts = [...near, bytes.length - 12, bytes.length - 3, bytes.length - 1]
        const wrong: number[] = []
        const sendIn = async (given: readonly Buffer[]) => {
          const { client, tunnel } = await bench.dialled()
          for (const piece of given) {
            tunnel.raw(piece)
            await pause(given.length > 2 ? 0 : 1)
          }
          const received = await client.inbox.read(expected.length)
          await eventually(() => tunnel.pongs.length === 1, 'the pong')
          client.end()
          return received.toString() === expected
        }
        for (const at of cuts)
          if (!(await sendIn([bytes.subarray(0, at), bytes.subarray(at)]))) wrong.push(at)
        t.strictSame(wrong, [])
        const head = bytes.subarray(0, large)
        t.ok(await sendIn([...pieces(head, 1), bytes.subarray(large)]), 'single bytes')
      },
    )

    await bench.test(
      'a reset right behind its 101 is told at once, and not when the time is up',
      async (t) => {
        for (let round = 0; round < 20; round++) {
          const client = await bench.dial('origin.test:443', round % 2 === 0 ? '' : 'early bytes')
          const tunnel = (await bench.gateway.next()).provoked()
          await tunnel.upgrade()
          tunnel.reset()
          const { status, headers } = await client.answer()
          t.equal(status, 502)
          t.match(headers['proxy-status'], /details="ERR_GATEWAY_(?:LOST|UPGRADE|UNREACHABLE)"/)
        }
      },
    )

    await bench.test('its 101, its answer, bytes and a reset in one go: never a clean end', async (t) => {
      const endings = new Set<string>()
      for (let round = 0; round < 20; round++) {
        const client = await bench.dial('origin.test:443', 'early bytes')
        const tunnel = (await bench.gateway.next()).provoked()
        const frames = [ESTABLISHED, 'last words'].map((text) => encodeFrame({ payload: chunk(text) }))
        await tunnel.upgrade((accept) => `${switching(accept)}${Buffer.concat(frames).toString('latin1')}`)
        tunnel.reset()
        const { bytes, ending } = await client.rest()
        const text = bytes.toString()
        if (text.startsWith('HTTP/1.1 502')) endings.add('502')
        else if (`${ESTABLISHED}last words`.startsWith(text)) endings.add(ending)
        else t.fail(text)
      }
      t.notOk(endings.has('fin'), [...endings].join(', '))
    })

    await bench.test('a message that claims much and never comes costs nothing', async (t) => {
      const before = await bench.relay.memory()
      const tunnels: GatewayConnection[] = []
      for (let i = 0; i < 20; i++) {
        const { tunnel } = await bench.open()
        tunnel.raw(encodeFrame({ claimedBytes: 16n * 1024n * 1024n }))
        tunnels.push(tunnel)
      }
      await pause(50)
      const grown = (await bench.relay.memory()).heldBytes - before.heldBytes
      t.ok(grown < 4 * MIB, `${grown}`)
    })
  })
}

t.test('a gateway that never ends its answer', async (t) => {
  const bench = await Bench.start(t, { limits: { gatewayTimeoutMs: 600 } })
  await bench.test('is given up, whatever it drips', async (t) => {
    for (const [title, start, drip] of [
      ['a header line', 'HTTP/1.1 101 X\r\nX: ', 'a'],
      ['header lines', 'HTTP/1.1 101 X\r\n', 'X: a\r\n'],
      ['interim answers', '', 'HTTP/1.1 102 P\r\n\r\n'],
    ] as const) {
      const client = await bench.dial()
      const tunnel = (await bench.gateway.next()).provoked()
      await tunnel.upgrade(() => start)
      const dripping = setInterval(() => tunnel.raw(drip), 20)
      await isOwnAnswer(t, client, 504, 'ERR_GATEWAY_TIMEOUT', title)
      clearInterval(dripping)
      tunnel.reset()
    }
  })
})

function switching(accept: string): string {
  return `HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: ${accept}\r\n\r\n`
}

async function digest(tunnel: GatewayConnection, bytes: number): Promise<string> {
  const hash = createHash('sha256')
  for (let left = bytes; left > 0; ) {
    const piece = await tunnel.inbox.next()
    if (piece === undefined) return `${left} bytes short`
    hash.update(piece)
    left -= piece.length
  }
  return hash.digest('hex')
}

async function flooding(tunnel: GatewayConnection, bursts: readonly Buffer[]): Promise<void> {
  for (const burst of bursts) {
    if (tunnel.socket.destroyed) return
    await new Promise((resolve) => tunnel.socket.write(burst, resolve))
  }
}
