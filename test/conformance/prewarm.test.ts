/** WebSockets upgraded in advance: used once, silent before their CONNECT, and done without where they are not kept. */
import t from 'tap'
import { eventually, pause, within } from '../support/deadline.js'
import { Bench } from './bench.js'
import type { GatewayConnection } from './strict-gateway/connection.js'

const LIMITS = { pingMs: 100, pongTimeoutMs: 5_000, prewarmTtlMs: 60_000 }
const FEW = 3

for (const bench of [
  await Bench.start(t, { scheme: 'ws', limits: LIMITS, prewarm: FEW }),
  await Bench.start(t, { scheme: 'wss', limits: LIMITS, prewarm: FEW }),
]) {
  await bench.test(
    'upgraded before anybody asks, silent, used once, replaced; beyond them tunnels dial',
    async (t) => {
      const warm: GatewayConnection[] = []
      const nextUpgraded = async () => {
        const tunnel = await bench.gateway.next()
        await tunnel.upgrade()
        warm.push(tunnel)
        return tunnel
      }
      for (let i = 0; i < FEW; i++) await nextUpgraded()
      for (const tunnel of warm) await eventually(() => tunnel.pings.length > 1, 'two pings')
      t.equal(bench.gateway.connections.length, FEW, 'and no more')
      for (const tunnel of warm) t.equal(tunnel.inbox.waiting, 0)

      for (let i = 0; i < 5; i++) {
        const client = await bench.dial('origin.test:443', `early ${i}`)
        const tunnel = await Promise.race(warm.map((each) => each.connect().then(() => each)))
        warm.splice(warm.indexOf(tunnel), 1)
        tunnel.answer()
        t.match((await client.inbox.readThrough('\r\n\r\n')).toString(), /^HTTP\/1.1 200/)
        t.equal((await tunnel.inbox.read(7)).toString(), `early ${i}`)
        tunnel.send('down')
        t.equal((await client.inbox.read(4)).toString(), 'down')
        tunnel.close(1000)
        t.equal((await client.rest()).ending, 'fin')
        await nextUpgraded()
      }
      t.equal(bench.gateway.connections.length, FEW + 5, 'each was used once')

      // More clients than there are.
      const served = new Set<GatewayConnection>()
      bench.gateway.script = async (tunnel) => {
        await tunnel.upgrade()
        // Not all of them will be asked for anything.
        if (!(await tunnel.connect().catch(() => undefined))) return
        served.add(tunnel)
        tunnel.answer()
      }
      const clients = []
      for (let i = 0; i < 2 * FEW; i++) clients.push(await bench.dial())
      for (const tunnel of warm.splice(0)) {
        await tunnel.connect()
        served.add(tunnel)
        tunnel.answer()
      }
      for (const client of clients) t.match((await client.answer()).status, 200)
      t.equal(served.size, 2 * FEW)
      for (const client of clients) client.end()
      for (const client of clients) t.equal((await client.rest()).ending, 'fin')
    },
  )
}

t.test('a gateway that does not keep them is left alone, and tunnels dial as ever', async (t) => {
  const bench = await Bench.start(t, { limits: LIMITS, prewarm: FEW })
  await bench.test('it closes each after a moment', async (t) => {
    bench.gateway.script = async (tunnel) => {
      await tunnel.upgrade()
      await pause(50)
      tunnel.close(1000)
    }
    await eventually(() => bench.relay.stderr.includes('prewarm-paused'), 'the pause')
    const before = bench.gateway.connections.length
    await pause(500)
    t.equal(bench.gateway.connections.length, before, 'no more of them')
    bench.gateway.script = async (tunnel) => {
      await tunnel.upgrade()
      await tunnel.connect()
      tunnel.answer()
    }
    const client = await bench.dial()
    t.equal((await client.answer()).status, 200)
    client.end()
    t.equal((await client.rest()).ending, 'fin')
  })
})

t.test('what is no way to treat them is no tunnel’s matter', async (t) => {
  const bench = await Bench.start(t, { limits: { ...LIMITS, prewarmTtlMs: 300 }, prewarm: 1 })
  await bench.test(
    'old ones are closed and replaced; one that hears bytes before its CONNECT is dropped',
    async (t) => {
      const first = await bench.gateway.next()
      await first.upgrade()
      t.equal(await within(first.closed, 'the Close of an old one'), 1000)
      const second = await bench.gateway.next()
      await second.upgrade()
      second.provoked().send('HTTP/1.1 200 OK\r\n\r\n')
      await within(second.over, 'the end of it')
      const third = await bench.gateway.next()
      await third.upgrade()
      const client = await bench.dial()
      await third.connect()
      third.answer()
      t.equal((await client.answer()).status, 200, 'nothing of it came to anybody')
      client.end()
      t.equal((await client.rest()).ending, 'fin')
    },
  )
})
