/** The relay's own answers to what a client asks: heads good and bad, the status document, loopback only. */
import { existsSync, readFileSync } from 'node:fs'
import { connect } from 'node:net'
import t from 'tap'
import { pause } from '../support/deadline.js'
import { Bench, connectHead, isOwnAnswer } from './bench.js'
import { ESTABLISHED } from './strict-gateway/connection.js'

const bench = await Bench.start(t, { limits: { headTimeoutMs: 400 } })

const STATUS = '/__upstreamproxy/status'
const HOST = `Host: 127.0.0.1:${bench.relay.port}\r\n`
const LONG_LINE = `X-Long: ${'x'.repeat(8192)}\r\n`

const REFUSED: readonly (readonly [title: string, head: string | Buffer, status: number, code: string])[] = [
  ['a TLS record', Buffer.from([0x16, 0x03, 0x01, 0x02, 0x00]), 400, 'ERR_CONNECT_NOT_HTTP'],
  ['SOCKS 5', Buffer.from([0x05, 0x01, 0x00]), 400, 'ERR_CONNECT_NOT_HTTP'],
  ['an empty line first', '\r\nCONNECT a.test:443 HTTP/1.1\r\n\r\n', 400, 'ERR_CONNECT_NOT_HTTP'],
  ['HTTP/2 preface', 'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n', 400, 'ERR_CONNECT_HEAD_MALFORMED'],
  ['two spaces', 'CONNECT  a.test:443 HTTP/1.1\r\n\r\n', 400, 'ERR_CONNECT_HEAD_MALFORMED'],
  ['HTTP/1.2', 'CONNECT a.test:443 HTTP/1.2\r\n\r\n', 400, 'ERR_CONNECT_HEAD_MALFORMED'],
  ['no version', 'CONNECT a.test:443\r\n\r\n', 400, 'ERR_CONNECT_HEAD_MALFORMED'],
  ['bare LF', 'CONNECT a.test:443 HTTP/1.1\n\n', 400, 'ERR_CONNECT_HEAD_MALFORMED'],
  ['bare CR', 'CONNECT a.test:443 HTTP/1.1\rX: y\r\n\r\n', 400, 'ERR_CONNECT_HEAD_MALFORMED'],
  ['a control byte', 'CONNECT a.test:443 HTTP/1.1\r\nX: \x01\r\n\r\n', 400, 'ERR_CONNECT_HEAD_MALFORMED'],
  ['a folded line', 'CONNECT a.test:443 HTTP/1.1\r\nX: y\r\n z\r\n\r\n', 400, 'ERR_CONNECT_HEAD_MALFORMED'],
  ['a space in a name', 'CONNECT a.test:443 HTTP/1.1\r\nX : y\r\n\r\n', 400, 'ERR_CONNECT_HEAD_MALFORMED'],
  ['no port', connectHead('a.test'), 400, 'ERR_CONNECT_TARGET'],
  ['port 0', connectHead('a.test:0'), 400, 'ERR_CONNECT_TARGET'],
  ['port 99999', connectHead('a.test:99999'), 400, 'ERR_CONNECT_TARGET'],
  ['userinfo', connectHead('user@a.test:443'), 400, 'ERR_CONNECT_TARGET'],
  ['a percent escape', connectHead('a%00.test:443'), 400, 'ERR_CONNECT_TARGET'],
  ['IPv6 without brackets', connectHead('::1:443'), 400, 'ERR_CONNECT_TARGET'],
  ['a URL as target', connectHead('https://a.test:443'), 400, 'ERR_CONNECT_TARGET'],
  ['Content-Length', 'CONNECT a.test:443 HTTP/1.1\r\nContent-Length: 0\r\n\r\n', 400, 'ERR_CONNECT_BODY'],
  [
    'Transfer-Encoding',
    'CONNECT a.test:443 HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n',
    400,
    'ERR_CONNECT_BODY',
  ],
  ['a head over 8 KiB', `CONNECT a.test:443 HTTP/1.1\r\n${LONG_LINE}\r\n`, 431, 'ERR_CONNECT_HEAD_TOO_LARGE'],
  ['a head over 8 KiB that goes on', 'x'.repeat(9000), 431, 'ERR_CONNECT_HEAD_TOO_LARGE'],
  [
    '101 header lines',
    `CONNECT a.test:443 HTTP/1.1\r\n${'a: b\r\n'.repeat(101)}\r\n`,
    431,
    'ERR_CONNECT_HEAD_TOO_LARGE',
  ],
  ['GET of a URL', `GET http://a.test/ HTTP/1.1\r\nHost: a.test\r\n\r\n`, 405, 'ERR_CONNECT_METHOD'],
  ['GET of a path', `GET / HTTP/1.1\r\n${HOST}\r\n`, 405, 'ERR_CONNECT_METHOD'],
  ['POST of the status', `POST ${STATUS} HTTP/1.1\r\n${HOST}\r\n`, 405, 'ERR_CONNECT_METHOD'],
  ['OPTIONS *', `OPTIONS * HTTP/1.1\r\n${HOST}\r\n`, 405, 'ERR_CONNECT_METHOD'],
  ['a foreign Host', `GET ${STATUS} HTTP/1.1\r\nHost: evil.test\r\n\r\n`, 403, 'ERR_STATUS_HOST'],
  ['a Host like ours', `GET ${STATUS} HTTP/1.1\r\nHost: 127.0.0.1.evil.test\r\n\r\n`, 403, 'ERR_STATUS_HOST'],
  ['no Host', `GET ${STATUS} HTTP/1.1\r\n\r\n`, 403, 'ERR_STATUS_HOST'],
  ['two Hosts', `GET ${STATUS} HTTP/1.1\r\n${HOST}Host: evil.test\r\n\r\n`, 403, 'ERR_STATUS_HOST'],
]

await bench.test(
  'a request that is not a good CONNECT gets its own answer, and nothing goes up',
  async (t) => {
    for (const [title, head, status, code] of REFUSED) {
      const client = await bench.client()
      client.write(head)
      const { headers, body } = await isOwnAnswer(t, client, status, code, title)
      t.equal(headers['connection'], 'close', `${title}: says that it closes`)
      if (status === 405) {
        t.equal(headers['allow'], 'CONNECT', `${title}: Allow`)
        t.match(body, /HTTPS only/, `${title}: says what it is for`)
      }
    }
    t.equal(bench.gateway.connections.length, 0, 'no connection to the gateway')
  },
)

await bench.test('a TLS record on the proxy port is answered with a hint', async (t) => {
  const client = await bench.client()
  client.write(Buffer.from([0x16]))
  t.match((await client.answer()).body, /TLS/)
})

await bench.test('the answer to a bad head reaches a client that is still sending', async (t) => {
  for (const head of [`GET http://a.test/ HTTP/1.1\r\n\r\n`, 'x'.repeat(9000), connectHead('nowhere')]) {
    const client = await bench.client()
    client.write(head)
    client.write(Buffer.alloc(2 * 1024 * 1024, 'x'))
    const { status, body } = await client.answer()
    t.ok(status === 405 || status === 431 || status === 400)
    t.match(body, /^ERR_CONNECT_/)
    t.equal((await client.rest()).ending, 'fin')
  }
})

await bench.test(
  'a head that is not complete in time gets 408, also where not a byte of it came',
  async (t) => {
    const begun = Date.now()
    const silent = await bench.client()
    const slow = await bench.client()
    slow.write('CONNECT a.test:443 HTTP/1.1\r\n')
    // Each byte must not begin the time anew.
    const drip = setInterval(() => slow.write('x'), 50)
    slow.socket.on('close', () => clearInterval(drip))
    slow.socket.on('end', () => clearInterval(drip))
    await isOwnAnswer(t, slow, 408, 'ERR_CONNECT_HEAD_TIMEOUT')
    const took = Date.now() - begun
    t.ok(took >= 350 && took < 2000, `after the limit of 400 ms: ${took} ms`)
    await isOwnAnswer(t, silent, 408, 'ERR_CONNECT_HEAD_TIMEOUT')
  },
)

await bench.test(
  'a head is read alike whole, byte by byte, and with HTTP/1.0, and comes up canonical',
  async (t) => {
    const spellings: [string, string][] = [
      [connectHead('origin.test:443'), 'origin.test:443'],
      ['CONNECT ORIGIN.test:8443 HTTP/1.0\r\n\r\n', 'origin.test:8443'],
      ['CONNECT origin.test.:443 HTTP/1.1\r\nHost: other.test\r\nX-Y:z\r\n\r\n', 'origin.test:443'],
      [connectHead('192.0.2.7:1'), '192.0.2.7:1'],
      [connectHead('[2001:DB8::1]:65535'), '[2001:db8::1]:65535'],
    ]
    for (const [head, authority] of spellings) {
      for (const piece of [head.length, 1]) {
        const client = await bench.client()
        for (let at = 0; at < head.length; at += piece) {
          client.write(head.slice(at, at + piece))
          if (piece === 1) await pause(0)
        }
        const tunnel = await bench.gateway.next()
        t.equal(await tunnel.open(), authority)
        t.equal((await client.inbox.read(ESTABLISHED.length)).toString(), ESTABLISHED)
      }
    }
  },
)

await bench.test('client headers of the CONNECT do not travel: the gateway sees its own alone', async () => {
  const client = await bench.client()
  client.write('CONNECT a.test:443 HTTP/1.1\r\nProxy-Authorization: Basic eDp5\r\nCookie: c=d\r\n\r\n')
  // The strict gateway complains of any other head.
  await (await bench.gateway.next()).open()
})

await bench.test('a client that connects and leaves without a word is no failure', async (t) => {
  const before = (await bench.relay.status()).failures.length
  const client = await bench.client()
  client.end()
  t.equal((await client.rest()).ending, 'fin')
  const gone = await bench.client()
  gone.reset()
  await gone.ending
  t.equal((await bench.relay.status()).failures.length, before)
})

await bench.test('the status document says what the relay does, to loopback names only', async (t) => {
  for (const host of ['127.0.0.1', `localhost:${bench.relay.port}`, 'LOCALHOST', '[::1]:80']) {
    const client = await bench.client()
    client.write(`GET ${STATUS} HTTP/1.1\r\nHost: ${host}\r\n\r\n`)
    const { status, headers, body } = await client.answer()
    t.equal(status, 200, host)
    t.match(headers['content-type'], /^application\/json/)
    t.equal(JSON.parse(body).port, bench.relay.port)
    t.equal((await client.rest()).ending, 'fin')
  }
  const before = await bench.relay.status()
  const { client, tunnel } = await bench.open()
  client.write('12345')
  await tunnel.inbox.read(5)
  tunnel.send('123')
  await client.inbox.read(3)
  const during = await bench.relay.status()
  t.equal(during.tunnels.open, before.tunnels.open + 1)
  t.equal(during.tunnels.total, before.tunnels.total + 1)
  t.equal(during.bytes.up, before.bytes.up + 5)
  t.equal(during.bytes.down, before.bytes.down + 3 + ESTABLISHED.length)
  t.same(Object.keys(during).sort(), [
    'bytes',
    'capabilities',
    'engine',
    'failures',
    'name',
    'port',
    'since',
    'thread',
    'tunnels',
    'version',
  ])
  t.equal(during.name, 'upstreamproxy')
  t.match(during.version, /^\d+\.\d+\.\d+/)
  t.ok(Math.abs(Date.parse(during.since) - Date.now()) < 120_000)
  t.equal(during.failures.length, 20, 'the last 20')
  for (const failure of during.failures) {
    t.same(Object.keys(failure).sort(), ['at', 'code'])
    t.match(failure.code, /^ERR_[A-Z_]+$/)
  }
})

await bench.test('the relay listens on 127.0.0.1 and nowhere else', async (t) => {
  const port = bench.relay.port.toString(16).toUpperCase().padStart(4, '0')
  const tables = ['/proc/net/tcp', '/proc/net/tcp6'].filter((file) => existsSync(file))
  const listening = tables
    .flatMap((file) => readFileSync(file, 'utf8').split('\n').slice(1))
    .map((line) => line.trim().split(/\s+/))
    .filter(([, local, , state]) => local?.endsWith(`:${port}`) && state === '0A')
  t.same(
    listening.map(([, local]) => local),
    tables.length > 0 ? [`0100007F:${port}`] : [],
  )
  const refused = await new Promise<string | undefined>((resolve) => {
    const socket = connect({ port: bench.relay.port, host: '127.0.0.2' }, () => {
      socket.destroy()
      resolve(undefined)
    })
    socket.on('error', (error: NodeJS.ErrnoException) => resolve(error.code))
  })
  t.equal(refused, 'ECONNREFUSED')
})
