/**
 * How tunnels end from the client's side: a FIN flushes and closes, a reset terminates (v1 has no half-close; RFC 9110
 * §9.3.6).
 */
import { randomBytes } from 'node:crypto'
import t from 'tap'
import { pause, within } from '../support/deadline.js'
import type { RawClient } from '../support/raw-client.js'
import { Bench } from './bench.js'
import type { GatewayConnection } from './strict-gateway/connection.js'

const PHASES: readonly (readonly [
  phase: string,
  reach: (tunnel: GatewayConnection, client: RawClient) => Promise<void>,
])[] = [
  ['before the upgrade request', async () => undefined],
  ['before the upgrade', async (tunnel) => void (await tunnel.request())],
  [
    'between the upgrade and the answer',
    async (tunnel) => void (await tunnel.upgrade().then(() => tunnel.connect())),
  ],
  ['mid-stream', async (tunnel) => void (await tunnel.open())],
  [
    'with bytes on their way both ways',
    async (tunnel, client) => {
      await tunnel.open()
      tunnel.stall()
      client.socket.pause()
      client.write(Buffer.alloc(8 * 1024 * 1024))
      for (let i = 0; i < 8; i++) tunnel.send(Buffer.alloc(1024 * 1024))
      await pause(50)
      tunnel.resume()
    },
  ],
]

const LIMITS = { closeTimeoutMs: 400 }
for (const bench of [
  await Bench.start(t, { scheme: 'ws', limits: LIMITS }),
  await Bench.start(t, { scheme: 'wss', limits: LIMITS }),
]) {
  await bench.test(
    'a client whose RST comes right behind its bytes has not ended its upload well',
    async (t) => {
      for (let i = 0; i < 10; i++) {
        const { client, tunnel } = await bench.open()
        tunnel.provoked()
        client.write('half an upload')
        client.reset()
        t.equal((await within(tunnel.over, 'the end of the WebSocket')).close, undefined, 'no Close frame')
        t.equal(await bench.lastFailure(), 'ERR_CLIENT_RESET')
      }
    },
  )

  await bench.test('client FIN: everything is flushed up, then Close 1000', async (t) => {
    for (const bytes of [0, 1, 3 * 1024 * 1024]) {
      const { client, tunnel } = await bench.open()
      const upload = randomBytes(bytes)
      client.write(upload)
      client.end()
      t.ok((await tunnel.inbox.readAll()).equals(upload), `${bytes} bytes`)
      t.equal(await tunnel.closed, 1000)
      t.same(
        await client.rest(),
        { bytes: Buffer.alloc(0), ending: 'fin' },
        'and the client sees a clean end',
      )
      t.same(await within(tunnel.over, 'the end of TCP'), { close: { code: 1000 }, tcp: 'fin' })
    }
  })

  await bench.test('client FIN: what the gateway sends before its own Close still arrives', async (t) => {
    const { client, tunnel } = await bench.open()
    tunnel.autoClose = false
    client.write('last request')
    client.end()
    await tunnel.closed
    const down = randomBytes(2 * 1024 * 1024)
    tunnel.send(down)
    tunnel.close(1000)
    t.same(await client.rest(), { bytes: down, ending: 'fin' })
  })

  await bench.test('client FIN: a gateway that never answers the Close is not waited for', async (_t) => {
    const { client, tunnel } = await bench.open()
    tunnel.autoClose = false
    tunnel.provoked()
    client.end()
    await tunnel.closed
    await within(tunnel.over, 'the end of the WebSocket', 3000)
    await client.ending
  })

  await bench.test(
    'client FIN right behind its CONNECT: what it sent goes up, then Close 1000',
    async (t) => {
      const client = await bench.dial('origin.test:443', 'all at once')
      client.end()
      const tunnel = await bench.gateway.next()
      await tunnel.upgrade()
      await tunnel.connect()
      t.equal((await tunnel.inbox.readAll()).toString(), 'all at once')
      t.equal(await tunnel.closed, 1000)
    },
  )

  await bench.test('client RST: the WebSocket is terminated, with no Close frame', async (t) => {
    for (const [phase, prepare] of PHASES) {
      const client = await bench.dial()
      const tunnel = (await bench.gateway.next()).provoked()
      await prepare(tunnel, client)
      client.reset()
      t.equal((await within(tunnel.over, phase)).close, undefined, phase)
      t.equal(await bench.lastFailure(), 'ERR_CLIENT_RESET', phase)
    }
  })
}
