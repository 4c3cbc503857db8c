/** Wire protocol v1 as the relay speaks it, and all that it must take from a gateway that is within the protocol. */
import { randomBytes } from 'node:crypto'
import t from 'tap'
import { eventually, pause, within } from '../support/deadline.js'
import { Bench, connectHead } from './bench.js'
import { CUTS, fragments, LEGAL_CHUNKS } from './legal.js'
import { chunk, MAX_SENT_PAYLOAD_BYTES } from './strict-gateway/chunk.js'
import { ESTABLISHED } from './strict-gateway/connection.js'
import { PING, PONG } from './strict-gateway/frames.js'

// Well over the pauses of a slow refusal, on a busy machine too.
const LIMITS = { closeTimeoutMs: 1_000 }
for (const bench of [
  await Bench.start(t, { scheme: 'ws', limits: LIMITS }),
  await Bench.start(t, { scheme: 'wss', limits: LIMITS }),
]) {
  await bench.test('one CONNECT is one WebSocket, upgraded as the protocol says', async (t) => {
    const { tunnel } = await bench.open('origin.test:443')
    const { headers } = await tunnel.request()
    t.equal(headers.get('authorization'), `Bearer ${bench.token}`)
    t.equal(headers.get('content-type'), 'application/proto')
    t.equal(bench.gateway.connections.length, 1)
    await bench.open('other.test:8443')
    t.equal(bench.gateway.connections.length, 2)
  })

  await bench.test(
    'bytes coalesced with the CONNECT go up at once, before the gateway answers',
    async (t) => {
      const early = randomBytes(517)
      const client = await bench.dial('origin.test:443', early)
      const tunnel = await bench.gateway.next()
      await tunnel.upgrade()
      t.equal(await tunnel.connect(), 'origin.test:443')
      t.same(await tunnel.inbox.read(early.length), early, 'with no answer yet')
      client.write('and more')
      t.equal((await tunnel.inbox.read(8)).toString(), 'and more', 'and what comes after')
      tunnel.answer()
      t.equal((await client.inbox.read(ESTABLISHED.length)).toString(), ESTABLISHED)
    },
  )

  await bench.test('bytes that come while the upgrade is under way go up after it, in order', async (t) => {
    const client = await bench.dial('origin.test:443', 'one ')
    const tunnel = await bench.gateway.next()
    await tunnel.request()
    client.write('two ')
    await pause(20)
    client.write('three')
    await pause(20)
    await tunnel.open()
    t.equal((await tunnel.inbox.read(13)).toString(), 'one two three')
  })

  await bench.test('a large upload arrives whole, in chunks of at most 512 KiB', async (t) => {
    const { client, tunnel } = await bench.open()
    const upload = randomBytes(4 * 1024 * 1024)
    client.write(upload)
    client.end()
    t.ok((await tunnel.inbox.readAll()).equals(upload))
    t.ok(tunnel.longestChunk <= MAX_SENT_PAYLOAD_BYTES, `longest: ${tunnel.longestChunk}`)
  })

  await bench.test(
    'however a gateway cuts its answer and its data, the client sees the same bytes',
    async (t) => {
      const down = Buffer.concat([Buffer.from(ESTABLISHED), randomBytes(3000)])
      for (const [title, send] of CUTS) {
        const client = await bench.dial()
        const tunnel = await bench.gateway.next()
        await tunnel.upgrade()
        await tunnel.connect()
        await send(tunnel, down)
        t.ok((await client.inbox.read(down.length)).equals(down), title)
        tunnel.close(1000)
        t.same(await client.rest(), { bytes: Buffer.alloc(0), ending: 'fin' }, title)
      }
    },
  )

  await bench.test('a chunk may be all that protobuf allows', async (t) => {
    const { client, tunnel } = await bench.open()
    for (const [title, message, expected] of LEGAL_CHUNKS) {
      tunnel.frame({ payload: message })
      tunnel.send('|')
      t.equal((await client.inbox.readThrough('|')).toString(), `${expected}|`, title)
    }
  })

  await bench.test('a message of 15 MiB passes in one piece or in fragments', async (t) => {
    const { client, tunnel } = await bench.open()
    const data = randomBytes(15 * 1024 * 1024)
    tunnel.send(data)
    t.ok((await client.inbox.read(data.length)).equals(data), 'one frame')
    for (const frame of fragments(chunk(data), 1024 * 1024)) tunnel.frame(frame)
    t.ok((await client.inbox.read(data.length)).equals(data), 'fragments')
  })

  await bench.test('a frame length longer than it need be is taken or refused, never misread', async (t) => {
    for (const lengthForm of [16, 64] as const) {
      const { client, tunnel } = await bench.open()
      tunnel.provoked().frame({ payload: chunk('hello'), lengthForm })
      tunnel.close(1000)
      const { bytes, ending } = await client.rest()
      t.equal(bytes.toString(), ending === 'fin' ? 'hello' : '', `${lengthForm} bits: ${ending}`)
    }
  })

  await bench.test('pings are answered with their own bytes, stray pongs with nothing', async (t) => {
    const { client, tunnel } = await bench.open()
    const longest = randomBytes(125)
    tunnel.frame({ opcode: PING, payload: longest })
    tunnel.frame({ opcode: PONG, payload: Buffer.from('stray') })
    await eventually(() => tunnel.pongs.length > 0, 'the pong')
    tunnel.frame({ opcode: PING })
    tunnel.send('still here')
    t.equal((await client.inbox.read(10)).toString(), 'still here')
    client.write('x')
    await tunnel.inbox.read(1)
    t.same(tunnel.pongs, [longest, Buffer.alloc(0)])
    // Of several that come together the last one's is enough (RFC 6455 §5.5.3).
    const together = [randomBytes(4), randomBytes(4), randomBytes(4)]
    for (const payload of together) tunnel.frame({ opcode: PING, payload })
    await eventually(() => tunnel.pongs.some((pong) => pong.equals(together[2]!)), 'the last pong')
    for (const pong of tunnel.pongs.slice(2)) t.ok(together.some((payload) => payload.equals(pong)))
  })

  await bench.test('any 2xx opens the tunnel, of HTTP/1.0 too', async (t) => {
    for (const answer of [
      'HTTP/1.1 204 No Content\r\n\r\n',
      'HTTP/1.0 200 OK\r\nX: y\r\n\r\n',
      'HTTP/1.1 299 \r\n\r\n',
    ]) {
      const client = await bench.dial()
      const tunnel = await bench.gateway.next()
      await tunnel.upgrade()
      tunnel.answer(answer)
      t.equal((await client.inbox.readThrough('\r\n\r\n')).toString(), answer)
      client.write('up')
      t.equal((await tunnel.inbox.read(2)).toString(), 'up')
    }
  })

  await bench.test('a refusal reaches the client verbatim, then both sides close', async (t) => {
    for (const [status, cut] of [
      ['403 Forbidden', 1],
      ['407 Proxy Authentication Required', 7],
      ['502 Bad Gateway', 9999],
      ['302 Found', 30],
    ] as const) {
      const refusal = `HTTP/1.1 ${status}\r\nContent-Length: 12\r\nX-Why: because\r\n\r\nnot for you\n`
      const { client, tunnel } = await bench.dialled()
      for (let at = 0; at < refusal.length; at += cut) tunnel.send(refusal.slice(at, at + cut))
      tunnel.watchRefusal()
      tunnel.close(1000)
      t.same(await client.rest(), { bytes: Buffer.from(refusal), ending: 'fin' }, status)
      t.equal((await within(tunnel.over, 'the end of the WebSocket')).tcp, 'fin')
      t.equal(await bench.lastFailure(), 'ERR_GATEWAY_REFUSED')
    }
  })

  await bench.test('the body of a refusal may take its time', async (t) => {
    const { client, tunnel } = await bench.dialled()
    tunnel.answer('HTTP/1.1 403 Forbidden\r\n\r\n')
    for (const piece of ['one ', 'two ', 'three']) {
      await pause(200)
      tunnel.send(piece)
    }
    tunnel.close(1000)
    t.match((await client.rest()).bytes.toString(), /one two three$/)
  })

  await bench.test(
    'after a refusal nothing more goes up, and the connection serves no other request',
    async (t) => {
      const { client, tunnel } = await bench.dialled()
      tunnel.answer('HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\n\r\n')
      await client.inbox.readThrough('\r\n\r\n')
      const again = setInterval(() => client.write(connectHead('other.test:443')), 20)
      client.socket.on('close', () => clearInterval(again))
      // The gateway keeps its side open: the relay must not wait for it for ever.
      const { bytes, ending } = await client.rest()
      clearInterval(again)
      t.same({ bytes: bytes.toString(), ending }, { bytes: '', ending: 'fin' })
      t.equal(bench.gateway.connections.length, 1, 'no other CONNECT reached the gateway')
      t.equal(tunnel.inbox.waiting, 0, 'and none went up the old one')
      t.equal((await within(tunnel.over, 'the end of the WebSocket')).close?.code, 1000)
    },
  )

  await bench.test('a refused client that still sends its upload reads the whole refusal', async (t) => {
    const { client, tunnel } = await bench.dialled()
    const refusal = `HTTP/1.1 413 Content Too Large\r\n\r\n${'no '.repeat(20_000)}`
    client.write(Buffer.alloc(8 * 1024 * 1024, 'u'))
    tunnel.answer(refusal)
    tunnel.close(1000)
    t.same(await client.rest(), { bytes: Buffer.from(refusal), ending: 'fin' })
  })
}
