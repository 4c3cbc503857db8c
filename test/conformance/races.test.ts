/** Many tunnels at once: every split of a ClientHello, either side dying at every moment, 500 tunnels that must not mix. */
import { createHash, randomBytes } from 'node:crypto'
import t from 'tap'
import { pause, within } from '../support/deadline.js'
import { deferred } from '../support/deferred.js'
import type { RawClient } from '../support/raw-client.js'
import { Bench, connectHead, type Scheme } from './bench.js'
import { ESTABLISHED, type GatewayConnection } from './strict-gateway/connection.js'

const SCHEMES: readonly Scheme[] = ['ws', 'wss']

for (const scheme of SCHEMES) {
  t.test(`races over ${scheme}`, async (t) => {
    const bench = await Bench.start(t, { scheme })

    await bench.test(
      'a ClientHello coalesced with its CONNECT, cut at every byte, goes up whole and first',
      async (t) => {
        const hello = clientHello()
        const head = Buffer.from(connectHead('origin.test:443'))
        const sent = Buffer.concat([head, hello])
        bench.gateway.script = async (tunnel) => {
          await tunnel.upgrade()
          await tunnel.connect()
          // All of it, before any answer.
          const early = await tunnel.inbox.read(hello.length)
          tunnel.answer()
          tunnel.send(early)
        }
        let wrong = 0
        await inBatches(sent.length + 1, 60, async (cut) => {
          const client = await bench.client()
          await client.send(sent.subarray(0, cut))
          // Long enough for the relay to have read it: two segments, two reads.
          await pause(3)
          await client.send(sent.subarray(cut))
          const expected = Buffer.concat([Buffer.from(ESTABLISHED), hello])
          if (!(await client.inbox.read(expected.length)).equals(expected)) wrong++
          client.end()
          await client.ending
        })
        t.equal(wrong, 0, `${sent.length + 1} cuts`)
      },
    )

    await bench.test(
      'gateways that die at every moment take their own tunnels along, and no others',
      async (t) => {
        const fates = new Map<string, GatewayFate>()
        bench.gateway.script = async (tunnel) => {
          // The moment is drawn before the name is known: some die before they have read it.
          const early = EARLY_DEATHS[bench.gateway.connections.length % 8]
          if (early) return early(tunnel.provoked())
          await tunnel.upgrade()
          const authority = await tunnel.connect()
          const fate = LATE_FATES[Number(/\d+/.exec(authority)) % LATE_FATES.length]!
          fates.set(authority, fate)
          await fate.act(tunnel)
        }
        const outcomes = new Map<string, number>()
        await inBatches(240, 60, async (number) => {
          const authority = `t${number}.test:443`
          const client = await bench.dial(authority, 'early')
          const { bytes, ending } = await client.rest()
          const outcome = judge(bytes, ending, fates.get(authority))
          outcomes.set(outcome, (outcomes.get(outcome) ?? 0) + 1)
        })
        const bad = [...outcomes.keys()].filter((outcome) => outcome.startsWith('wrong'))
        t.same(bad, [])
        t.comment([...outcomes].map(([outcome, count]) => `${outcome}: ${count}`).join(', '))
        t.ok(outcomes.size >= 4, 'every fate has come about')
      },
    )

    await bench.test(
      'clients that die at every moment leave nothing behind, and disturb no one',
      async (t) => {
        bench.gateway.script = async (tunnel) => {
          tunnel.provoked()
          // A tunnel that is cut short ends the script wherever it is.
          await echo(tunnel).catch(() => undefined)
        }
        let whole = 0
        await inBatches(200, 50, async (number) => {
          const upload = randomBytes(20_000)
          const client = await bench.dial(`t${number}.test:443`, upload.subarray(0, 5000))
          if (number % 2 === 0) {
            await pause(number % 11)
            client.write(upload.subarray(5000))
            if (number % 4 === 0) client.reset()
            else client.socket.destroy()
            return
          }
          client.write(upload.subarray(5000))
          const echoed = await client.inbox.read(ESTABLISHED.length + upload.length)
          if (echoed.subarray(ESTABLISHED.length).equals(upload)) whole++
          client.end()
          await client.ending
        })
        t.equal(whole, 100, 'every tunnel that was left alone')
      },
    )
  })

  t.test(`500 concurrent tunnels over ${scheme}`, async (t) => {
    const bench = await Bench.start(t, { scheme })
    await bench.test('no byte is lost, reordered or crossed among 500 concurrent tunnels', async (t) => {
      const downloads = new Map<string, string>()
      const uploads = new Map<string, string>()
      let open = 0
      const all = deferred()
      bench.gateway.script = async (tunnel) => {
        const authority = await tunnel.open()
        if (++open === TUNNELS) all.resolve()
        await within(all.promise, '500 tunnels at once', 30_000)
        const up = digest(tunnel.inbox)
        const pieces = randomPieces()
        downloads.set(authority, pieces.sha256)
        await tunnel.stream(pieces.bytes)
        // The client says by its FIN that it has sent all; only then may the tunnel close.
        uploads.set(authority, await up)
      }
      const wrong: string[] = []
      const started = Date.now()
      await Promise.all(
        Array.from({ length: TUNNELS }, async (_, number) => {
          const authority = `t${number}.test:${1000 + number}`
          const client = await bench.dial(authority)
          await client.inbox.read(ESTABLISHED.length)
          const pieces = randomPieces()
          const sending = (async () => {
            for (const piece of pieces.bytes) await client.send(piece)
          })()
          // What comes down is all there before the FIN goes up: v1 has no half-close.
          const down = createHash('sha256')
          let received = 0
          while (received < BYTES_EACH_WAY) {
            const piece = await client.inbox.next()
            if (!piece) break
            received += piece.length
            down.update(piece)
          }
          await sending
          client.end()
          if ((await client.ending) !== 'fin') wrong.push(`${authority}: no clean end`)
          if (down.digest('hex') !== downloads.get(authority)) wrong.push(`${authority}: down`)
          if (uploads.get(authority) !== pieces.sha256) wrong.push(`${authority}: up`)
        }),
      )
      t.same(wrong.slice(0, 10), [])
      t.equal(uploads.size, TUNNELS)
      const mib = (2 * TUNNELS * BYTES_EACH_WAY) / 1024 / 1024
      t.comment(`${mib} MiB through ${TUNNELS} tunnels in ${Date.now() - started} ms`)
    })
  })
}

interface GatewayFate {
  readonly name: string
  readonly act: (tunnel: GatewayConnection) => Promise<void> | void
  /** what the client must have got, and how it must have ended */
  readonly down: string
  readonly ending: 'fin' | 'rst' | '502'
}

const EARLY_DEATHS: Readonly<Record<number, (tunnel: GatewayConnection) => Promise<void> | void>> = {
  0: (tunnel) => tunnel.reset(),
  1: async (tunnel) => {
    await tunnel.request()
    tunnel.fin()
  },
  2: async (tunnel) => {
    await tunnel.request()
    tunnel.raw('HTTP/1.1 101 Swi')
    tunnel.reset()
  },
}

const MIDDLE = `${ESTABLISHED}half of`
const LATE_FATES: readonly GatewayFate[] = [
  { name: '502 by RST', act: (tunnel) => tunnel.reset(), down: '', ending: '502' },
  { name: '502 by FIN', act: (tunnel) => tunnel.fin(), down: '', ending: '502' },
  { name: '502 by Close', act: (tunnel) => tunnel.close(1011), down: '', ending: '502' },
  {
    name: 'RST mid-stream',
    act: async (tunnel) => {
      tunnel.send(MIDDLE)
      // Time for the bytes to be read, mostly.
      await pause(30)
      tunnel.reset()
    },
    down: MIDDLE,
    ending: 'rst',
  },
  {
    name: 'FIN inside a frame',
    act: (tunnel) => {
      tunnel.send(MIDDLE)
      tunnel.raw(Buffer.from([0x82, 0x10, 0x0a]))
      tunnel.fin()
    },
    down: MIDDLE,
    ending: 'rst',
  },
  {
    name: 'Close 1011 mid-stream',
    act: (tunnel) => {
      tunnel.send(MIDDLE)
      tunnel.close(1011)
    },
    down: MIDDLE,
    ending: 'rst',
  },
  {
    name: 'well',
    act: async (tunnel) => {
      tunnel.send(MIDDLE)
      tunnel.send(await tunnel.inbox.read(5))
      tunnel.close(1000)
    },
    down: `${MIDDLE}early`,
    ending: 'fin',
  },
]

function judge(bytes: Buffer, ending: string, fate: GatewayFate | undefined): string {
  const text = bytes.toString('latin1')
  const is502 = /^HTTP\/1\.1 502 [\s\S]*\r\n\r\nERR_GATEWAY_[^\n]*\n$/.test(text) && ending === 'fin'
  if (!fate) return is502 ? '502 before the CONNECT' : `wrong: no fate, ${text}`
  const isFate = fate.ending === '502' ? is502 : text === fate.down && ending === fate.ending
  // A reset may take along what lay unread before it: then the gateway has not spoken.
  if (isFate || (is502 && fate.name === 'RST mid-stream')) return fate.name
  return `wrong: ${fate.name} ${ending} ${text}`
}

async function echo(tunnel: GatewayConnection): Promise<void> {
  await tunnel.open()
  for (;;) {
    const piece = await tunnel.inbox.next()
    if (!piece) return
    tunnel.send(piece)
  }
}

async function digest(inbox: RawClient['inbox']): Promise<string> {
  const hash = createHash('sha256')
  for (;;) {
    const piece = await inbox.next()
    if (!piece) return hash.digest('hex')
    hash.update(piece)
  }
}

/** BYTES_EACH_WAY random bytes in pieces of random sizes, small and large. */
function randomPieces(): { bytes: Buffer[]; sha256: string } {
  const all = randomBytes(BYTES_EACH_WAY)
  const bytes: Buffer[] = []
  for (let at = 0; at < all.length; ) {
    const size = Math.ceil(2 ** (Math.random() * 16))
    bytes.push(all.subarray(at, at + size))
    at += size
  }
  return { bytes, sha256: createHash('sha256').update(all).digest('hex') }
}

/** Runs numbers 0 to count - 1, so many at a time. */
async function inBatches(count: number, size: number, run: (number: number) => Promise<void>): Promise<void> {
  for (let start = 0; start < count; start += size) {
    const numbers = Array.from({ length: Math.min(size, count - start) }, (_, i) => start + i)
    await Promise.all(numbers.map(run))
  }
}

// Shaped like one: a handshake record with its length, random inside.
function clientHello(): Buffer {
  const body = randomBytes(240)
  return Buffer.concat([Buffer.from([0x16, 0x03, 0x01, 0x00, body.length]), body])
}

const TUNNELS = 500
const BYTES_EACH_WAY = 96 * 1024
