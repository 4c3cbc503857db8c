import { once } from 'node:events'
import { writeFileSync } from 'node:fs'
import { get as httpGet, request as httpRequest, type IncomingMessage } from 'node:http'
import { get as httpsGet } from 'node:https'
import { connect as tcpConnect } from 'node:net'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { KEEPALIVE, WIRE_PATHS } from 'upstreamproxy/wire'
import {
  basic,
  connect,
  connectHead,
  exchange,
  RawTunnel,
  readAll,
  readHead,
  secure,
  textOf,
  type UpgradeOptions,
  UpgradeRefused,
  upgrade,
} from './support/client.js'
import { eventually, TOKEN, TOKEN_2, testGateway } from './support/gateway.js'
import { testOrigin } from './support/origin.js'
import { makePki } from './support/pki.js'

const pki = await makePki()
const DENYING = `
default: allow
rules:
  - match: { host: blocked.test }
    action: deny
  - match: { host: "*.blocked.test" }
    action: deny
`

async function refusedUpgrade(url: string, options: UpgradeOptions): Promise<UpgradeRefused> {
  const outcome = await upgrade(url, options).catch((error: unknown) => error)
  if (outcome instanceof UpgradeRefused) return outcome
  throw new Error('the upgrade was not refused')
}

function fetched(url: string, method = 'GET'): Promise<{ response: IncomingMessage; body: string }> {
  return new Promise((resolve, reject) => {
    const sent = httpRequest(url, { method, agent: false }, (response) => {
      textOf(response).then((body) => resolve({ response, body }), reject)
    })
    sent.once('error', reject)
    sent.end()
  })
}

t.test('the CA certificate is there for whoever asks, and nothing else is', async (t) => {
  const { gateway } = await testGateway(t)
  const { response, body } = await fetched(gateway.url + WIRE_PATHS.caCert)
  t.equal(response.statusCode, 200)
  t.equal(response.headers['content-type'], 'application/x-pem-file')
  t.equal(body, gateway.caCertificate)
  t.equal((await fetched(gateway.url + WIRE_PATHS.caCert, 'HEAD')).body, '')
  const refusals: [path: string, method: string, status: number, reason: string][] = [
    ['/', 'GET', 404, 'not-found'],
    [`${WIRE_PATHS.caCert}/`, 'GET', 404, 'not-found'],
    [WIRE_PATHS.caCert, 'POST', 405, 'method-refused'],
    [WIRE_PATHS.webSocket, 'GET', 426, 'upgrade-required'],
  ]
  for (const [path, method, status, reason] of refusals) {
    const refused = await fetched(gateway.url + path, method)
    t.equal(refused.response.statusCode, status, path)
    t.equal(refused.response.headers['proxy-status']?.toString().includes(`details="${reason}"`), true)
    t.match(refused.body, new RegExp(`^upstreamproxy-gateway: ${reason}: `))
  }
})

t.test('an upgrade needs the right path, a known bearer token and the content type', async (t) => {
  const { gateway, logged, auditText } = await testGateway(t)
  const refusals: [options: UpgradeOptions, status: number, reason: string][] = [
    [{ token: undefined }, 401, 'unauthorized'],
    [{ token: 'wrong' }, 401, 'unauthorized'],
    [{ token: `${TOKEN}x` }, 401, 'unauthorized'],
    [{ token: TOKEN.slice(0, -1) }, 401, 'unauthorized'],
    [{ token: `${TOKEN} ${TOKEN_2}` }, 401, 'unauthorized'],
    [{ token: 'wrong', contentType: undefined }, 401, 'unauthorized'],
    [{ contentType: undefined }, 415, 'content-type'],
    [{ contentType: 'application/octet-stream' }, 415, 'content-type'],
    [{ contentType: 'application/protobuf' }, 415, 'content-type'],
    [{ path: '/v1/code/upstreamproxy/other' }, 404, 'not-found'],
  ]
  for (const [options, status, reason] of refusals) {
    const refused = await refusedUpgrade(gateway.url, options)
    t.equal(refused.status, status, JSON.stringify(options))
    t.match(refused.message, new RegExp(`^upstreamproxy-gateway: ${reason}: `))
    if (status === 401) t.equal(refused.headers['www-authenticate'], 'Bearer realm="upstreamproxy"')
  }
  for (const options of [
    {},
    { token: TOKEN_2 },
    { contentType: 'Application/Proto; x=y' },
    { path: `${WIRE_PATHS.webSocket}?x` },
  ]) {
    const webSocket = await upgrade(gateway.url, options)
    webSocket.terminate()
    t.pass(JSON.stringify(Object.keys(options)))
  }
  t.match(logged(), /upgrade-refused reason=unauthorized/)
  t.notMatch(logged() + auditText(), /CANARY/)
})

t.test(
  'a connection whose upgrade was refused does not stay, though its client does not close it',
  async (t) => {
    const { gateway } = await testGateway(t, { more: 'limits: { closeMs: 50 }' })
    const socket = tcpConnect({ port: gateway.port, host: '127.0.0.1', allowHalfOpen: true })
    t.teardown(() => socket.destroy())
    socket.write(
      `GET ${WIRE_PATHS.webSocket} HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n`,
    )
    let text = ''
    socket.on('data', (bytes) => (text += bytes))
    socket.on('error', () => undefined)
    await once(socket, 'end')
    t.match(text, /^HTTP\/1\.1 401 /)
    // Only a connection that is gone answers what is written to it with a reset.
    await eventually(() => {
      if (!socket.destroyed) socket.write('x')
      return socket.destroyed
    })
  },
)

t.test('a CONNECT that is refused is recorded though its relay does not close', async (t) => {
  const { gateway, records } = await testGateway(t, { acme: 'default: deny' })
  const tunnel = new RawTunnel(await upgrade(gateway.url))
  tunnel.write(connectHead('origin.test:443', basic('session-1', TOKEN)))
  tunnel.webSocket.pause()
  t.match(await eventually(() => records()[0]), {
    event: 'connect',
    decision: 'deny',
    reason: 'denied-by-default',
  })
  tunnel.destroy()
  await eventually(() => gateway.close({ drainMs: 0 }).then(() => true))
  t.equal(records().length, 1)
})

t.test('a CONNECT needs the credentials of the session that the bearer token named', async (t) => {
  const { gateway, records } = await testGateway(t)
  const cases: [name: string, credentials: string | undefined, status: number][] = [
    ['right', basic('session-1', TOKEN), 200],
    ['scheme in capitals', basic('session-1', TOKEN).replace('Basic', 'BASIC'), 200],
    ['none', undefined, 407],
    ['wrong token', basic('session-1', 'wrong'), 407],
    ['wrong id', basic('session-9', TOKEN), 407],
    ['token of another session', basic('session-1', TOKEN_2), 407],
    ['another session, whole', basic('session-2', TOKEN_2), 407],
    ['bearer', `Bearer ${TOKEN}`, 407],
    ['not base64', 'Basic !!!!', 407],
    ['empty', 'Basic ', 407],
  ]
  for (const [name, credentials, status] of cases) {
    const { tunnel, ...answer } = await connect(gateway.url, 'origin.test:443', { credentials })
    t.equal(answer.status, status, name)
    if (status === 407) {
      t.match(answer.head, /\r\nProxy-Authenticate: Basic realm="upstreamproxy"\r\n/)
      t.match(
        answer.head,
        /Proxy-Status: upstreamproxy-gateway; error=http_request_denied; details="session-credentials"/,
      )
      t.equal(await tunnel.closeCode, 1000, 'a refusal ends well')
    }
    tunnel.destroy()
  }
  const twice = `CONNECT origin.test:443 HTTP/1.1\r\nProxy-Authorization: ${basic('session-1', TOKEN)}\r\nProxy-Authorization: ${basic('session-1', TOKEN)}\r\n\r\n`
  t.equal((await connect(gateway.url, '', { head: twice })).status, 407, 'credentials twice')
  const seen = await eventually(() => records().length === cases.length + 1 && records())
  t.equal(seen.filter(({ reason }) => reason === 'session-credentials').length, 9)
})

t.test('a CONNECT that is refused says why, and is recorded', async (t) => {
  const { gateway, records } = await testGateway(t, { acme: DENYING, allowAddresses: '[]' })
  const cases: [head: string, status: number, reason: string, error: string][] = [
    [
      connectHead('blocked.test:443', basic('session-1', TOKEN)),
      403,
      'denied-by-rule',
      'http_request_denied',
    ],
    [
      connectHead('A.Blocked.TEST.:443', basic('session-1', TOKEN)),
      403,
      'denied-by-rule',
      'http_request_denied',
    ],
    [
      connectHead('127.0.0.1:443', basic('session-1', TOKEN)),
      403,
      'address-refused',
      'destination_ip_prohibited',
    ],
    [
      connectHead('[::1]:443', basic('session-1', TOKEN)),
      403,
      'address-refused',
      'destination_ip_prohibited',
    ],
    [
      connectHead('169.254.169.254:80', basic('session-1', TOKEN)),
      403,
      'address-refused',
      'destination_ip_prohibited',
    ],
    [
      connectHead(`127.0.0.1:${gateway.port}`, basic('session-1', TOKEN)),
      403,
      'gateway-itself',
      'destination_ip_prohibited',
    ],
    [
      connectHead(`[::ffff:127.0.0.1]:${gateway.port}`, basic('session-1', TOKEN)),
      403,
      'gateway-itself',
      'destination_ip_prohibited',
    ],
    [connectHead('origin.test', basic('session-1', TOKEN)), 400, 'connect-target', 'http_request_error'],
    [connectHead('0x7f.1:443', basic('session-1', TOKEN)), 400, 'connect-target', 'http_request_error'],
    ['GET / HTTP/1.1\r\nHost: origin.test\r\n\r\n', 405, 'connect-expected', 'http_request_denied'],
    ['GET http://origin.test/ HTTP/1.1\r\n\r\n', 405, 'connect-expected', 'http_request_denied'],
    ['\x16\x03\x01\x02\x00', 400, 'connect-malformed', 'http_request_error'],
    ['CONNECT a.test:443 HTTP/1.1\r\n folded\r\n\r\n', 400, 'connect-malformed', 'http_request_error'],
    [
      'CONNECT a.test:443 HTTP/1.1\r\nContent-Length: 3\r\n\r\n',
      400,
      'connect-malformed',
      'http_request_error',
    ],
    [
      `CONNECT a.test:443 HTTP/1.1\r\nX: ${'x'.repeat(9000)}\r\n\r\n`,
      431,
      'connect-too-large',
      'http_request_error',
    ],
  ]
  for (const [head, status, reason, error] of cases) {
    const { tunnel, ...answer } = await connect(gateway.url, '', { head })
    const body = Buffer.concat([answer.rest, await readAll(tunnel)]).toString()
    t.equal(answer.status, status, `${JSON.stringify(head.slice(0, 40))}`)
    t.ok(
      answer.head.includes(`Proxy-Status: upstreamproxy-gateway; error=${error}; details="${reason}"`),
      answer.head,
    )
    t.ok(answer.head.includes('\r\nConnection: close'))
    t.match(body, new RegExp(`^upstreamproxy-gateway: ${reason}: `))
    t.equal(Number(/Content-Length: (\d+)/.exec(answer.head)?.[1]), body.length)
    const record = await eventually(() =>
      records().find(({ connection }) => body.includes(`record: ${String(connection)}`)),
    )
    t.match(record, {
      event: 'connect',
      session: 'session-1',
      org: 'acme',
      decision: 'deny',
      reason,
      status,
      requests: 0,
    })
  }
  t.equal(records().length, cases.length)
})

t.test(
  'the head of a CONNECT may come in pieces, and what follows it early reaches the TLS inside',
  async (t) => {
    const origin = await testOrigin(t, pki)
    const { gateway } = await testGateway(t, { originCa: pki.caPem })
    const tunnel = new RawTunnel(await upgrade(gateway.url))
    for (const byte of Buffer.from(connectHead(origin.authority, basic('session-1', TOKEN))))
      tunnel.write(Buffer.from([byte]))
    t.equal((await readHead(tunnel)).status, 200)
    tunnel.destroy()
    // The client's hello, sent with the CONNECT: `early` holds it back until it is known.
    const { PassThrough, Duplex } = await import('node:stream')
    const { connect: tlsConnect } = await import('node:tls')
    const up = new PassThrough()
    const down = new PassThrough()
    const client = tlsConnect({
      socket: Duplex.from({ writable: up, readable: down }) as never,
      ca: gateway.caCertificate,
      servername: 'origin.test',
    })
    const secured = new Promise((resolve, reject) =>
      client.once('secureConnect', resolve).once('error', reject),
    )
    const hello = await new Promise<Buffer>((resolve) => up.once('data', resolve))
    const connected = await connect(gateway.url, origin.authority, { early: hello })
    t.equal(connected.status, 200)
    down.write(connected.rest)
    up.pipe(connected.tunnel)
    connected.tunnel.pipe(down)
    await secured
    t.match(await exchange(client, { headers: { Host: origin.authority } }), { status: 200 })
    client.destroy()
    connected.tunnel.destroy()
  },
)

t.test('bytes behind a refused CONNECT are dropped, never read as a request', async (t) => {
  const origin = await testOrigin(t, pki)
  const { gateway, records } = await testGateway(t, { acme: DENYING, originCa: pki.caPem })
  const early = Buffer.from(connectHead(origin.authority, basic('session-1', TOKEN)).repeat(3))
  const tunnel = new RawTunnel(await upgrade(gateway.url))
  tunnel.write(
    Buffer.concat([Buffer.from(connectHead('blocked.test:443', basic('session-1', TOKEN))), early]),
  )
  tunnel.write(early)
  const { head, rest } = await readHead(tunnel)
  const body = Buffer.concat([rest, await readAll(tunnel)])
  t.match(head, /^HTTP\/1\.1 403 Forbidden\r\n/)
  t.equal(body.length, Number(/Content-Length: (\d+)/.exec(head)?.[1]), 'one answer, and no second')
  t.equal(await tunnel.closeCode, 1000)
  t.equal(origin.connections.length, 0)
  t.equal((await eventually(() => records().length > 0 && records())).length, 1)
})

t.test('a CONNECT that does not come, or not all of it, has a deadline; so has the handshake', async (t) => {
  const { gateway, records } = await testGateway(t, {
    more: 'limits: { headMs: 80, awaitConnectMs: 60, handshakeMs: 80, keepaliveMs: 10 }',
  })
  const silent = new RawTunnel(await upgrade(gateway.url))
  t.equal(await silent.closeCode, 1000, 'nothing came, nothing is told')
  t.equal(records().length, 0)
  t.ok(silent.keepalives > 0, 'kept alive until then')
  const { tunnel, status } = await connect(gateway.url, '', { head: 'CONNECT origin.test:443 HTTP/1.1\r\n' })
  t.equal(status, 408)
  tunnel.destroy()
  const { tunnel: opened } = await connect(gateway.url, 'origin.test:443')
  t.equal(await opened.closeCode, 1011)
  const reasons = await eventually(() => records().length === 2 && records().map(({ reason }) => reason))
  t.strictSame(reasons, ['connect-timeout', 'tls-handshake-timeout'])
})

t.test('what is no chunk, and what is no TLS, breaks the tunnel', async (t: Test) => {
  const { gateway, records } = await testGateway(t)
  const spoilt: [name: string, spoil: (tunnel: RawTunnel) => void, reason: string, code: number][] = [
    ['text', ({ webSocket }) => webSocket.send('text'), 'tunnel-protocol', 1002],
    [
      'not protobuf',
      ({ webSocket }) => webSocket.send(Buffer.from([0x0a, 0x05, 0x00])),
      'tunnel-protocol',
      1002,
    ],
    [
      'a length over the cap',
      ({ webSocket }) => webSocket.send(Buffer.from([0x0a, 0xff, 0xff, 0xff, 0xff, 0x7f])),
      'tunnel-protocol',
      1002,
    ],
    [
      'no TLS',
      (tunnel) => tunnel.write('GET / HTTP/1.1\r\nHost: origin.test\r\n\r\n'),
      'tls-handshake-failed',
      1011,
    ],
    ['lost', ({ webSocket }) => webSocket.terminate(), 'tunnel-lost', 1006],
    ['a Close that is no good end', ({ webSocket }) => webSocket.close(1001), 'tunnel-lost', 1001],
  ]
  for (const [name, spoil, reason, code] of spoilt) {
    const { tunnel } = await connect(gateway.url, 'origin.test:443')
    tunnel.resume()
    const before = records().length
    spoil(tunnel)
    t.equal(await tunnel.closeCode, code, name)
    const record = await eventually(() => records().length > before && records().at(-1))
    t.match(record, { event: 'connect', decision: 'allow', reason, status: 200 }, name)
  }
  const { tunnel } = await connect(gateway.url, 'origin.test:443')
  tunnel.webSocket.send(KEEPALIVE)
  tunnel.webSocket.send(Buffer.alloc(0))
  tunnel.end()
  t.equal(await tunnel.closeCode, 1000, 'keepalives are nothing, and a good end is one')
  t.match(await eventually(() => records().length === 7 && records().at(-1)), { reason: null })
})

t.test('tunnels are counted, for all and for each session', async (t) => {
  const { gateway } = await testGateway(t, { more: 'limits: { maxTunnels: 3, maxTunnelsPerSession: 2 }' })
  const open = [await upgrade(gateway.url), await upgrade(gateway.url)]
  t.equal((await refusedUpgrade(gateway.url, {})).status, 503, 'the session has its two')
  open.push(await upgrade(gateway.url, { token: TOKEN_2 }))
  t.match(await refusedUpgrade(gateway.url, { token: TOKEN_2 }), { status: 503, message: /too-many-tunnels/ })
  for (const webSocket of open) webSocket.terminate()
  await eventually(async () =>
    upgrade(gateway.url)
      .then((webSocket) => webSocket.terminate())
      .then(
        () => true,
        () => false,
      ),
  )
})

t.test('with a certificate of its own, the gateway speaks TLS', async (t) => {
  const origin = await testOrigin(t, pki)
  const { cert, key } = await pki.leaf('127.0.0.1')
  const { gateway, folder } = await testGateway(t, {
    originCa: pki.caPem,
    more: 'tls: { cert: server.pem, key: server.key }',
    files: { 'server.pem': cert, 'server.key': key },
  })
  writeFileSync(join(folder, 'unused'), '')
  t.equal(gateway.url, `https://127.0.0.1:${gateway.port}`)
  const body = await new Promise<string>((resolve, reject) => {
    httpsGet(gateway.url + WIRE_PATHS.caCert, { ca: pki.caPem, agent: false }, (response) =>
      textOf(response).then(resolve, reject),
    )
  })
  t.equal(body, gateway.caCertificate)
  await t.rejects(
    new Promise((_, reject) =>
      httpGet(gateway.url.replace('https', 'http'), { agent: false }).once('error', reject),
    ),
  )
  const socket = await secure(gateway.url, origin.authority, {
    ca: gateway.caCertificate,
    connect: { ca: pki.caPem },
  })
  t.match(await exchange(socket, { headers: { Host: origin.authority } }), { status: 200 })
  socket.destroy()
})

t.test('a bug costs its tunnel or request a 500, a record and a line in the log, and no more', async (t) => {
  let rounds = 0
  const origin = await testOrigin(t, pki)
  const { gateway, records, logged } = await testGateway(t, {
    originCa: pki.caPem,
    change: (config) => ({
      ...config,
      sessions: config.sessions.map((session) => ({
        ...session,
        org: {
          ...session.org,
          get rules(): never[] {
            if (++rounds % 2 === 1) throw new Error('a bug')
            return []
          },
        },
      })),
    }),
  })
  const { status, head, rest } = await connect(gateway.url, origin.authority)
  t.equal(status, 500)
  t.match(head, /error=proxy_internal_error; details="internal"/)
  t.notMatch(rest.toString(), /a bug\n|a bug$/, 'its words are for the log')
  const socket = await secure(gateway.url, origin.authority, { ca: gateway.caCertificate })
  t.equal((await exchange(socket, { headers: { Host: origin.authority } })).status, 500)
  t.equal((await exchange(socket, { headers: { Host: origin.authority } })).status, 200)
  socket.destroy()
  const seen = await eventually(() => records().length === 4 && records())
  t.equal(seen.filter(({ reason }) => reason === 'internal').length, 2)
  t.match(
    logged(),
    /connect-failed connection=\w+ cause="a bug"\n.*request-failed request=[\w-]+ cause="a bug"/,
  )
})
