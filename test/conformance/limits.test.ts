/** Time and number: deadlines, keepalives, liveness, the caps on tunnels and messages, and the relay's own close. */
import { randomBytes } from 'node:crypto'
import { connect } from 'node:net'
import t from 'tap'
import { pause, within } from '../support/deadline.js'
import { pieces } from '../support/pieces.js'
import { Bench, isOwnAnswer } from './bench.js'
import { chunk } from './strict-gateway/chunk.js'
import { ESTABLISHED } from './strict-gateway/connection.js'

t.test('deadlines on the gateway', async (t) => {
  const bench = await Bench.start(t, { scheme: 'ws', limits: { gatewayTimeoutMs: 500 } })

  await bench.test('an upgrade that is not done in time: 504', async (t) => {
    const silent = await bench.dial()
    const silentTunnel = (await bench.gateway.next()).provoked()
    const dripping = await bench.dial()
    const drippingTunnel = (await bench.gateway.next()).provoked()
    await drippingTunnel.request()
    const drip = setInterval(() => drippingTunnel.raw('H'), 50)
    drippingTunnel.raw('HTTP/1.1 101 Switching Protocols\r\nX: ')
    await Promise.all([
      isOwnAnswer(t, silent, 504, 'ERR_GATEWAY_TIMEOUT', 'silent'),
      isOwnAnswer(t, dripping, 504, 'ERR_GATEWAY_TIMEOUT', 'dripping'),
    ])
    clearInterval(drip)
    await within(Promise.all([silentTunnel.over, drippingTunnel.over]), 'the end of the connections')
  })

  await bench.test('no first byte of the gateway’s in time after the upgrade: 504', async (t) => {
    const { client, tunnel } = await bench.dialled()
    tunnel.provoked()
    // Neither a keepalive nor a pong is an answer.
    const keepalives = setInterval(() => tunnel.send(''), 50)
    await isOwnAnswer(t, client, 504, 'ERR_GATEWAY_TIMEOUT')
    clearInterval(keepalives)
    await within(tunnel.over, 'the end of the WebSocket')
  })

  await bench.test('the time runs from the CONNECT: the upgrade does not begin it anew', async (t) => {
    const client = await bench.dial()
    const dialledAt = Date.now()
    const tunnel = (await bench.gateway.next()).provoked()
    await pause(400)
    await tunnel.upgrade()
    await isOwnAnswer(t, client, 504, 'ERR_GATEWAY_TIMEOUT')
    t.ok(Date.now() - dialledAt < 880, `${Date.now() - dialledAt} ms`)
  })

  await bench.test(
    'after the gateway’s first byte there is no 504, however long the rest takes',
    async (t) => {
      const { client, tunnel } = await bench.dialled()
      tunnel.send(ESTABLISHED.slice(0, 9))
      await pause(700)
      tunnel.send(ESTABLISHED.slice(9))
      t.equal((await client.inbox.read(ESTABLISHED.length)).toString(), ESTABLISHED)
      await pause(700)
      client.write('idle, not dead')
      t.equal((await tunnel.inbox.read(14)).toString(), 'idle, not dead')
    },
  )
})

t.test('keepalives and liveness', async (t) => {
  const bench = await Bench.start(t, {
    scheme: 'ws',
    limits: { keepaliveMs: 100, pingMs: 60, pongTimeoutMs: 500, closeTimeoutMs: 300 },
  })

  await bench.test('an idle tunnel carries a keepalive chunk per interval and lives', async (t) => {
    const { client, tunnel } = await bench.open()
    await pause(1050)
    // The strict gateway has checked that each is exactly 0a 00, and that none came before the CONNECT.
    t.ok(
      tunnel.keepalives >= 4 && tunnel.keepalives <= 11,
      `${tunnel.keepalives} keepalives in 1050 ms at 100`,
    )
    t.ok(tunnel.pings.length >= 5, `${tunnel.pings.length} pings in 1050 ms at 60`)
    t.equal(tunnel.inbox.waiting, 0)
    client.write('up')
    t.equal((await tunnel.inbox.read(2)).toString(), 'up')
    tunnel.send('down')
    t.equal((await client.inbox.read(4)).toString(), 'down')
  })

  await bench.test('keepalives go up while only the gateway talks', async (t) => {
    const { client, tunnel } = await bench.open()
    for (let i = 0; i < 12; i++) {
      tunnel.send('down')
      await client.inbox.read(4)
      await pause(50)
    }
    t.ok(tunnel.keepalives >= 3, `${tunnel.keepalives} keepalives`)
  })

  await bench.test(
    'keepalives go up between the CONNECT and the answer, and none before the upgrade',
    async (t) => {
      const client = await bench.dial()
      const tunnel = await bench.gateway.next()
      await pause(300)
      await tunnel.upgrade()
      await tunnel.connect()
      await pause(300)
      t.ok(tunnel.keepalives >= 1)
      tunnel.answer()
      t.equal((await client.inbox.read(ESTABLISHED.length)).toString(), ESTABLISHED)
    },
  )

  await bench.test('a gateway that answers no ping is dead, however much data it sends', async (t) => {
    const { client, tunnel } = await bench.open()
    tunnel.provoked().autoPong = false
    const begun = Date.now()
    const talk = setInterval(() => tunnel.send('talk'), 20)
    t.equal((await client.rest()).ending, 'rst')
    clearInterval(talk)
    const took = Date.now() - begun
    t.ok(took >= 400 && took < 3000, `${took} ms at a limit of 500`)
    t.equal(await bench.lastFailure(), 'ERR_GATEWAY_DEAD')
    t.equal((await within(tunnel.over, 'the end of the WebSocket')).close, undefined)
  })

  await bench.test('a gateway that stops reading is dead too', async (t) => {
    const { client, tunnel } = await bench.open()
    tunnel.provoked().stall()
    client.write(Buffer.alloc(16 * 1024 * 1024))
    t.equal((await client.rest()).ending, 'rst')
    t.equal(await bench.lastFailure(), 'ERR_GATEWAY_DEAD')
  })

  await bench.test('a gateway is not dead while the relay reads nothing for a slow client', async (t) => {
    const { client, tunnel } = await bench.open()
    client.socket.pause()
    const down = randomBytes(16 * 1024 * 1024)
    const sent = tunnel.stream(pieces(down, 256 * 1024))
    await pause(1700)
    client.socket.resume()
    t.ok((await client.inbox.read(down.length)).equals(down), 'every byte, three deadlines later')
    await sent
    await pause(800)
    client.write('alive')
    t.equal((await tunnel.inbox.read(5)).toString(), 'alive', 'and after it')
  })

  await bench.test('a client that reads in fits and starts costs nobody the tunnel', async (t) => {
    const { client, tunnel } = await bench.open()
    const down = randomBytes(24 * 1024 * 1024)
    const sent = tunnel.stream(pieces(down, 256 * 1024))
    for (let at = 0; at < down.length; ) {
      client.socket.pause()
      await pause(150)
      client.socket.resume()
      const part = Math.min(6 * 1024 * 1024, down.length - at)
      t.ok((await client.inbox.read(part)).equals(down.subarray(at, at + part)))
      at += part
    }
    await sent
  })
})

t.test('caps on tunnels and messages', async (t) => {
  const bench = await Bench.start(t, {
    scheme: 'ws',
    limits: { maxTunnels: 3, maxMessageBytes: 1024 * 1024 },
  })

  await bench.test(
    'a tunnel over the cap gets 503, and the next one in where another has ended',
    async (t) => {
      const tunnels = [await bench.open(), await bench.open(), await bench.open()]
      for (let i = 0; i < 3; i++) {
        await isOwnAnswer(t, await bench.dial(), 503, 'ERR_TOO_MANY_TUNNELS')
      }
      t.equal(bench.gateway.connections.length, 3, 'the gateway was not asked')
      t.equal((await bench.relay.status()).tunnels.open, 3, 'the status document is still to be had')
      tunnels[0]!.client.end()
      await within(tunnels[0]!.client.ending, 'the end of a tunnel')
      await bench.open()
    },
  )

  await bench.test('a refused upgrade gives its place back', async (t) => {
    for (let i = 0; i < 5; i++) {
      const client = await bench.dial()
      await (await bench.gateway.next()).refuseUpgrade('503 Service Unavailable')
      await isOwnAnswer(t, client, 502, 'ERR_GATEWAY_UPGRADE')
    }
    await bench.open()
  })

  await bench.test('a message up to the cap passes; one over it breaks the tunnel', async (t) => {
    const { client, tunnel } = await bench.open()
    const fits = randomBytes(1024 * 1024 - 16)
    tunnel.send(fits)
    t.ok((await client.inbox.read(fits.length)).equals(fits))
    tunnel.provoked().send(Buffer.alloc(1024 * 1024 + 1))
    t.same(await client.rest(), { bytes: Buffer.alloc(0), ending: 'rst' })
    t.equal(await bench.lastFailure(), 'ERR_CHUNK_TOO_LARGE')
  })

  await bench.test(
    'fragments count together: a message that only grows breaks the tunnel at the cap',
    async (t) => {
      const { client, tunnel } = await bench.open()
      tunnel.provoked().frame({ payload: chunk(Buffer.alloc(100)), fin: false })
      // A field that the format allows and nobody knows, over and over: what is wrong is the length alone.
      const unknown = Buffer.concat([Buffer.from([0x12, 0x80, 0x80, 0x04]), Buffer.alloc(64 * 1024)])
      for (let i = 0; i < 40; i++) tunnel.frame({ opcode: 0, payload: unknown, fin: false })
      t.equal((await client.rest()).ending, 'rst')
      t.equal(await bench.lastFailure(), 'ERR_CHUNK_TOO_LARGE')
    },
  )
})

t.test('close() accepts no more, lets tunnels end, then resets what is left', async (t) => {
  const bench = await Bench.start(t)
  await bench.test('a tunnel that ends in time ends well, another is reset', async (t) => {
    const [ends, stays, waits] = [await bench.open(), await bench.open(), await bench.dialled()]
    const silent = await bench.client()
    const begun = Date.now()
    const closed = bench.relay.close(700)
    t.same((await silent.rest()).ending, 'fin', 'a client without a request is let go at once')
    t.equal(await refusal(bench.relay.port), 'ECONNREFUSED')
    ends.client.write('still up')
    t.equal((await ends.tunnel.inbox.read(8)).toString(), 'still up')
    ends.tunnel.send('still down')
    ends.tunnel.close(1000)
    t.same(await ends.client.rest(), { bytes: Buffer.from('still down'), ending: 'fin' })
    stays.tunnel.provoked().send('cut short')
    waits.tunnel.provoked()
    await isOwnAnswer(t, waits.client, 503, 'ERR_RELAY_CLOSING')
    t.same(await stays.client.rest(), { bytes: Buffer.from('cut short'), ending: 'rst' })
    t.ok(Date.now() - begun >= 650, 'at the deadline')
    await within(closed, 'close()')
  })
})

t.test('close() is done as soon as the last tunnel is', async (t) => {
  const bench = await Bench.start(t, { scheme: 'wss' })
  await bench.test('close() does not wait for its deadline', async (t) => {
    const { client } = await bench.open()
    const closed = bench.relay.close(9000)
    client.end()
    t.equal((await client.rest()).ending, 'fin')
    await within(closed, 'close()', 1000)
  })
})

function refusal(port: number): Promise<string | undefined> {
  return new Promise((resolve) => {
    const socket = connect({ port, host: '127.0.0.1' }, () => {
      socket.destroy()
      resolve(undefined)
    })
    socket.on('error', (error: NodeJS.ErrnoException) => resolve(error.code))
  })
}
