// biome-ignore-all lint/suspicious/noTemplateCurlyInString: that is how the configuration writes it
import { once } from 'node:events'
import type { IncomingMessage } from 'node:http'
import { type AddressInfo, createServer as createTcpServer, type Socket } from 'node:net'
import { networkInterfaces } from 'node:os'
import { createServer as createTlsServer, type TLSSocket } from 'node:tls'
import t, { type Test } from 'tap'
import { matchWhole } from '../../dist-test/support/match-whole.js'
import { basic, exchange, readAll, readHead, secure, send, textOf, tunnelOf } from './support/client.js'
import { API_KEY, eventually, type TestGatewayOptions, TOKEN_2, testGateway } from './support/gateway.js'
import { type TestOriginOptions, testOrigin } from './support/origin.js'
import { makePki, selfSigned } from './support/pki.js'

const pki = await makePki()
const ACME = `
default: allow
secrets: { api-key: { env: API_KEY } }
rules:
  - match: { host: origin.test, path: "/denied/**" }
    action: deny
  - match: { host: origin.test, path: "/v1/**" }
    set: { authorization: "Bearer \${secret:api-key}", x-added: "1" }
`

async function stage(t: Test, options: { origin?: TestOriginOptions; gateway?: TestGatewayOptions } = {}) {
  const origin = await testOrigin(t, pki, options.origin)
  const gateway = await testGateway(t, { acme: ACME, originCa: pki.caPem, ...options.gateway })
  const open = async (authority = origin.authority) => {
    const socket = await secure(gateway.gateway.url, authority, { ca: gateway.gateway.caCertificate })
    t.teardown(() => socket.destroy())
    return socket
  }
  const requests = () => gateway.records().filter(({ event }) => event === 'request')
  const headers = { Host: origin.authority }
  return { origin, ...gateway, open, requests, headers }
}

t.test(
  "configured headers are on every request of a connection, and the client's own copies are not",
  async (t) => {
    const { open, origin, requests, records, auditText, logged } = await stage(t)
    const socket = await open()
    for (let i = 0; i < 3; i++) {
      const answer = await exchange(socket, {
        path: `/v1/users?id=CANARY-query&${i}`,
        headers: {
          Host: origin.authority,
          AUTHORIZATION: 'Bearer CANARY-client',
          'X-Added': ['a', 'b'],
          Connection: 'keep-alive, x-hop',
          'X-Hop': '1',
          'Proxy-Authorization': 'Basic CANARY',
          Cookie: 'kept=CANARY-cookie',
        },
      })
      t.equal(answer.status, 200)
      const { headers } = JSON.parse(answer.body)
      t.equal(headers.authorization, `Bearer ${API_KEY}`)
      t.equal(headers['x-added'], '1')
      t.equal(headers['x-hop'], undefined)
      t.equal(headers['proxy-authorization'], undefined)
      t.equal(headers.cookie, 'kept=CANARY-cookie')
      t.equal(headers.host, origin.authority)
    }
    const plain = await exchange(socket, {
      path: '/free',
      headers: { Host: origin.authority, Authorization: 'mine' },
    })
    t.equal(JSON.parse(plain.body).headers.authorization, 'mine', 'where no rule sets it, it is let through')
    t.equal(origin.connections.length, 1, 'one connection to the origin')
    socket.end()
    await eventually(() => records().length === 5)
    matchWhole(t, requests()[0], {
      v: 1,
      session: 'session-1',
      org: 'acme',
      method: 'GET',
      host: 'origin.test',
      port: origin.port,
      path: '/v1/users?id=*&*',
      rule: '2',
      injected: ['authorization', 'x-added'],
      decision: 'allow',
      reason: null,
      status: 200,
      bytesUp: 0,
    })
    matchWhole(t, requests()[3], { rule: 'default', injected: [] })
    t.match(records().at(-1), { event: 'connect', decision: 'allow', reason: null, status: 200, requests: 4 })
    const ids = records().map(({ connection }) => connection)
    t.equal(new Set(ids).size, 1)
    t.strictSame(
      requests().map(({ request }) => request),
      [1, 2, 3, 4].map((n) => `${ids[0]}-${n}`),
    )
    t.notMatch(auditText() + logged(), /CANARY/)
  },
)

t.test(
  'a request that is refused leaves the connection in use, unless its body would be in the way',
  async (t) => {
    const { open, origin, requests, headers } = await stage(t)
    const socket = await open()
    const refused = await exchange(socket, { path: '/denied/x?token=CANARY', headers })
    t.equal(refused.status, 403)
    t.match(refused.body, /^upstreamproxy-gateway: denied-by-rule: /)
    t.match(refused.headers['proxy-status'], 'details="denied-by-rule"')
    t.match(refused.body, /record: [0-9a-f]{16}-1\n/)
    t.equal((await exchange(socket, { path: '/denied/x', method: 'HEAD', headers })).body, '')
    t.equal((await exchange(socket, { path: '/free', headers })).status, 200)
    const withBody = await exchange(socket, {
      path: '/denied/x',
      method: 'POST',
      headers,
      body: 'x'.repeat(1000),
    })
    t.equal(withBody.status, 403)
    t.equal(withBody.headers.connection, 'close')
    t.equal(origin.requests.length, 1)
    matchWhole(t, requests()[0], {
      rule: '1',
      decision: 'deny',
      reason: 'denied-by-rule',
      status: 403,
      path: '/denied/x?token=*',
      injected: [],
    })
  },
)

t.test('what is not the host and port of the CONNECT gets 421 and no secret', async (t) => {
  const { open, origin, requests, gateway } = await stage(t)
  const socket = await open()
  const wrong = [
    'origin.test',
    'other.test',
    `other.test:${origin.port}`,
    `origin.test:${origin.port + 1}`,
    `sub.origin.test:${origin.port}`,
  ]
  for (const host of wrong) {
    const answer = await exchange(socket, { path: '/v1/x', headers: { Host: host } })
    t.equal(answer.status, 421, host)
    t.match(answer.body, /host-mismatch/)
  }
  t.equal(
    (await exchange(socket, { path: '/v1/x', headers: { Host: origin.authority.toUpperCase() } })).status,
    200,
  )
  const sni = await secure(gateway.url, origin.authority, {
    ca: gateway.caCertificate,
    tls: { servername: 'other.test', checkServerIdentity: () => undefined },
  })
  t.equal(
    sni.getPeerCertificate().subjectaltname,
    'DNS:origin.test',
    'the certificate is for the CONNECT alone',
  )
  t.match(await exchange(sni, { path: '/v1/x', headers: { Host: origin.authority } }), {
    status: 421,
    body: /sni-mismatch/,
  })
  sni.destroy()
  t.equal(origin.requests.length, 1)
  t.equal(requests().filter(({ reason }) => reason === 'host-mismatch').length, wrong.length)
})

t.test('an address is reached by its own certificate, without a server name', async (t) => {
  const { gateway } = await testGateway(t, { originCa: pki.caPem })
  const loopback = Object.values(networkInterfaces()).flatMap(
    (them) => them?.map(({ address }) => address) ?? [],
  )
  for (const host of ['127.0.0.1', '::1'].filter((address) => loopback.includes(address))) {
    const origin = await testOrigin(t, pki, { host, address: host })
    const tls = { host, servername: '' }
    const socket = await secure(gateway.url, origin.authority, { ca: gateway.caCertificate, tls })
    t.match(await exchange(socket, { headers: { Host: origin.authority } }), { status: 200 }, host)
    t.match(socket.getPeerCertificate().subjectaltname, /^IP Address:/)
    t.equal(origin.requests.length, 1)
    socket.destroy()
  }
})

t.test('of a name with several addresses, those that are allowed are used', async (t) => {
  const origin = await testOrigin(t, pki, { host: 'localhost' })
  const statusWith = async (allowAddresses: string) => {
    const { gateway } = await testGateway(t, { originCa: pki.caPem, allowAddresses })
    const socket = await secure(gateway.url, origin.authority, { ca: gateway.caCertificate })
    const { status } = await exchange(socket, { headers: { Host: origin.authority } })
    socket.destroy()
    return status
  }
  t.equal(await statusWith('["127.0.0.1/32"]'), 200, 'whether or not localhost is ::1 as well')
  t.equal(await statusWith('["10.0.0.0/8"]'), 403)
})

t.test('an absolute target of the same place is a path; what else it holds is not recorded', async (t) => {
  const { open, origin, requests } = await stage(t)
  const ask = async (target: string) => {
    const before = requests().length
    const socket = await open()
    socket.write(`GET ${target} HTTP/1.1\r\nHost: ${origin.authority}\r\n\r\n`)
    const { status } = await readHead(socket)
    socket.destroy()
    const record = await eventually(() => requests().length > before && requests().at(-1))
    return [status, record['path'], record['rule'], record['injected']]
  }
  t.strictSame(await ask(`https://${origin.authority}/v1/x?a=b`), [
    200,
    '/v1/x?a=*',
    '2',
    ['authorization', 'x-added'],
  ])
  t.strictSame(await ask(`https://user:CANARY@${origin.authority}/v1/x`), [421, null, null, []])
  t.equal(origin.requests.length, 1)
  t.equal(origin.requests[0]?.url, '/v1/x?a=b')
})

t.test('what cannot be forwarded is refused with a reason and a record', async (t) => {
  const { open, origin, requests } = await stage(t, {
    gateway: { more: 'limits: { headMs: 300, maxRequestsPerTunnel: 2 }' },
  })
  const host = `Host: ${origin.authority}\r\n`
  const cases: [name: string, bytes: string, status: number, reason: string][] = [
    ['TRACE', `TRACE / HTTP/1.1\r\n${host}\r\n`, 405, 'method-unsupported'],
    ['CONNECT', `CONNECT ${origin.authority} HTTP/1.1\r\n${host}\r\n`, 405, 'method-unsupported'],
    [
      'WebSocket',
      `GET / HTTP/1.1\r\n${host}Upgrade: websocket\r\nConnection: Upgrade\r\n\r\n`,
      501,
      'upgrade-unsupported',
    ],
    [
      'another expectation',
      `POST / HTTP/1.1\r\n${host}Expect: more\r\nContent-Length: 1\r\n\r\nx`,
      417,
      'expectation-unsupported',
    ],
    ['no Host', 'GET / HTTP/1.1\r\n\r\n', 400, 'host-missing'],
    ['two Hosts', `GET / HTTP/1.1\r\n${host}${host}\r\n`, 400, 'host-missing'],
    [
      'another place in absolute form',
      `GET https://other.test/ HTTP/1.1\r\n${host}\r\n`,
      421,
      'host-mismatch',
    ],
    ['no path', `OPTIONS * HTTP/1.1\r\n${host}\r\n`, 400, 'target-malformed'],
    ['an ambiguous path', `GET /v1/../x HTTP/1.1\r\n${host}\r\n`, 400, 'path-ambiguous'],
    ['no HTTP', 'hello\r\n\r\n', 400, 'request-malformed'],
    ['no method', `FOO / HTTP/1.1\r\n${host}\r\n`, 400, 'request-malformed'],
    ['a folded header', `GET / HTTP/1.1\r\n${host}a: b\r\n c\r\n\r\n`, 400, 'request-malformed'],
    ['a NUL', `GET / HTTP/1.1\r\n${host}a: \0\r\n\r\n`, 400, 'request-malformed'],
    [
      'two lengths',
      `POST / HTTP/1.1\r\n${host}Content-Length: 1\r\nContent-Length: 2\r\n\r\nxx`,
      400,
      'request-malformed',
    ],
    [
      'a length and a coding',
      `POST / HTTP/1.1\r\n${host}Content-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n`,
      400,
      'request-malformed',
    ],
    [
      'a coding that is none',
      `POST / HTTP/1.1\r\n${host}Transfer-Encoding: xchunked\r\n\r\n`,
      501,
      'transfer-coding-unsupported',
    ],
    [
      'two codings',
      `POST / HTTP/1.1\r\n${host}Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n`,
      501,
      'transfer-coding-unsupported',
    ],
    [
      'a head too large',
      `GET / HTTP/1.1\r\n${host}a: ${'x'.repeat(17_000)}\r\n\r\n`,
      431,
      'request-too-large',
    ],
    ['a head too slow', `GET / HTTP/1.1\r\n${host}`, 408, 'request-timeout'],
  ]
  for (const [name, bytes, status, reason] of cases) {
    const before = requests().length
    const socket = await open()
    socket.write(bytes)
    const answer = await readHead(socket)
    t.equal(answer.status, status, name)
    t.ok(answer.head.includes(`details="${reason}"`), `${name}: ${answer.head}`)
    t.match(await eventually(() => requests().length > before && requests().at(-1)), { reason, status }, name)
    socket.destroy()
  }
  t.equal(requests().length, cases.length, 'one record each')
  t.equal(origin.requests.length, 0, 'nothing was forwarded')
})

t.test('a client that is still sending reads its refusal before its connection ends', async (t) => {
  const { open, origin, requests } = await stage(t, { gateway: { more: 'limits: { lingerMs: 200 }' } })
  const head = `POST /denied/x HTTP/1.1\r\nHost: ${origin.authority}\r\nContent-Length: 1000000\r\n`
  const finishing = await open()
  finishing.write(`${head}\r\n`)
  const answer = await readHead(finishing)
  t.equal(answer.status, 403)
  t.match(answer.head, /\r\nConnection: close/)
  for (let i = 0; i < 100; i++) finishing.write(Buffer.alloc(10_000))
  t.equal(await tunnelOf(finishing.resume()).closeCode, 1000)
  t.equal(requests().length, 1, 'over as soon as the body is')
  const lasting = await open()
  lasting.write(`${head}\r\nnever all of it`)
  const started = Date.now()
  t.equal((await readHead(lasting)).status, 403)
  t.equal(await tunnelOf(lasting.resume()).closeCode, 1000)
  t.ok(Date.now() - started >= 190, 'it had its time')
  const waiting = await open()
  waiting.write(`${head}Expect: 100-continue\r\n\r\n`)
  t.equal((await readHead(waiting)).status, 403)
  t.equal(await tunnelOf(waiting.resume()).closeCode, 1000)
  t.equal(requests().length, 3)
  t.equal(origin.requests.length, 0)
})

t.test('a body that breaks the grammar is answered for, and aborted towards the origin', async (t) => {
  let aborted = 0
  const { open, origin, requests } = await stage(t, {
    origin: {
      serve(request, response) {
        request.on('error', () => aborted++)
        request.resume()
        if (request.url === '/begun') response.write('begun')
      },
    },
  })
  const head = (path: string) =>
    `POST ${path} HTTP/1.1\r\nHost: ${origin.authority}\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n`
  const socket = await open()
  socket.write(head('/v1/'))
  await eventually(() => origin.requests.length === 1)
  socket.write('zz\r\n')
  t.match(await readHead(socket), { status: 400, head: /request-malformed/ })
  await eventually(() => aborted === 1)
  t.match(await eventually(() => requests().at(-1)), {
    decision: 'allow',
    reason: 'request-malformed',
    status: 400,
  })
  const begun = await open()
  begun.write(head('/begun'))
  t.equal((await readHead(begun)).status, 200)
  begun.write('zz\r\n')
  t.equal(
    await tunnelOf(begun.resume()).closeCode,
    1011,
    'no clean end of a response that will not be complete',
  )
  await eventually(() => aborted === 2)
  t.match(requests().at(-1), { reason: 'request-malformed', status: 200 })
})

t.test('HTTP/1.1 is what is spoken inside, also with clients that would rather have HTTP/2', async (t) => {
  const { gateway, origin, headers, requests } = await stage(t)
  const offering = (...ALPNProtocols: string[]) =>
    secure(gateway.url, origin.authority, { ca: gateway.caCertificate, tls: { ALPNProtocols } })
  const both = await offering('h2', 'http/1.1')
  t.equal(both.alpnProtocol, 'http/1.1')
  t.equal((await exchange(both, { headers })).status, 200)
  both.destroy()
  await t.rejects(offering('h2'), { code: 'ERR_SSL_TLSV1_ALERT_NO_APPLICATION_PROTOCOL' })
  const old = await offering('http/1.1')
  old.write(`GET / HTTP/1.0\r\nHost: ${origin.authority}\r\n\r\n`)
  t.match((await readAll(old)).toString(), /^HTTP\/1\.1 200 OK\r\n.*"method":"GET"/s)
  t.equal(requests().length, 2)
})

t.test('requests of one tunnel at once are counted, and answered in their order', async (t) => {
  const waiting: (() => void)[] = []
  const { open, origin, requests, headers } = await stage(t, {
    gateway: { more: 'limits: { maxRequestsPerTunnel: 2 }' },
    origin: { serve: (request, response) => void waiting.push(() => response.end(request.url)) },
  })
  const socket = await open()
  const head = (path: string) => `GET ${path} HTTP/1.1\r\nHost: ${headers.Host}\r\n\r\n`
  socket.write(head('/1') + head('/2') + head('/3'))
  await eventually(() => origin.requests.length === 2 && waiting.length === 2)
  for (const answer of waiting.reverse()) answer()
  let text = ''
  socket.on('data', (bytes: Buffer) => {
    text += bytes.toString()
  })
  await eventually(() => /\/1.*\/2.*503 Service Unavailable.*too-many-requests: /s.test(text))
  await eventually(() => requests().length === 3)
  t.equal(origin.requests.length, 2)
})

t.test('lengths, chunks, trailers, no bodies and early hints of an end go through as they are', async (t) => {
  const { open, headers } = await stage(t, {
    origin: {
      serve(request, response) {
        const kind = request.url
        if (kind === '/204' || kind === '/304')
          return void response.writeHead(Number(kind.slice(1)), { etag: '"x"' }).end()
        if (kind === '/gzip')
          return void response.writeHead(200, { 'content-encoding': 'gzip' }).end('not really')
        if (kind === '/status')
          return void response
            .writeHead(299, 'A Phrase', [
              'Set-Cookie',
              'a',
              'set-cookie',
              'b',
              'X-Case',
              'Kept',
              'Proxy-Status',
              'forged',
              'Connection',
              'x-hop',
              'X-Hop',
              '1',
            ])
            .end()
        if (kind === '/trailers') {
          response.writeHead(200, { trailer: 'x-sum' })
          response.write('body')
          response.addTrailers({ 'x-sum': '4' })
          return void response.end()
        }
        let body = ''
        request.on('data', (bytes) => (body += bytes))
        request.on('end', () => {
          const { 'content-length': length, 'transfer-encoding': coding } = request.headers
          const answer = JSON.stringify({ length, coding, body, trailers: request.trailers })
          if (request.method === 'HEAD') response.setHeader('content-length', 1234)
          response.end(answer)
        })
      },
    },
  })
  const socket = await open()
  const ask = (path: string, more: object = {}) => exchange(socket, { path, headers, ...more })
  t.match(await ask('/204'), {
    status: 204,
    body: '',
    headers: { etag: '"x"', 'transfer-encoding': undefined },
  })
  t.match(await ask('/304'), { status: 304, body: '' })
  t.match(await ask('/', { method: 'HEAD' }), {
    status: 200,
    body: '',
    headers: { 'content-length': '1234' },
  })
  t.match(await ask('/gzip'), { body: 'not really', headers: { 'content-encoding': 'gzip' } })
  t.match(await ask('/trailers'), { body: 'body', trailers: { 'x-sum': '4' } })
  const status = await ask('/status')
  t.equal(status.status, 299)
  t.ok(
    status.rawHeaders.join('|').includes('Set-Cookie|a|set-cookie|b|X-Case|Kept'),
    'order and case are kept',
  )
  t.equal(status.headers['proxy-status'], undefined)
  t.equal(status.headers['x-hop'], undefined)
  t.match(
    JSON.parse(
      (await ask('/', { method: 'POST', body: 'abc', headers: { ...headers, 'Content-Length': '3' } })).body,
    ),
    { length: '3', body: 'abc' },
  )
  t.match(
    JSON.parse((await ask('/', { method: 'POST', headers: { ...headers, 'Content-Length': '0' } })).body),
    { length: '0', body: '' },
  )
  t.match(
    JSON.parse(
      (
        await ask('/', {
          method: 'POST',
          body: 'abc',
          headers: { ...headers, 'Transfer-Encoding': 'chunked' },
        })
      ).body,
    ),
    { coding: 'chunked', body: 'abc' },
  )
  t.match(
    JSON.parse(
      (
        await ask('/', {
          method: 'GET',
          body: 'abc',
          headers: { ...headers, 'Transfer-Encoding': 'chunked' },
        })
      ).body,
    ),
    { coding: 'chunked', body: 'abc' },
  )
  t.match(JSON.parse((await ask('/', { method: 'DELETE' })).body), { body: '' })
  const sent = send(socket, {
    method: 'POST',
    path: '/v1/',
    headers: { ...headers, Connection: 'keep-alive', Trailer: 'x-sum', 'Transfer-Encoding': 'chunked' },
  })
  sent.write('abc')
  sent.addTrailers({ 'x-sum': '3', authorization: 'mine' })
  sent.end()
  const [response] = (await once(sent, 'response')) as [IncomingMessage]
  t.strictSame(JSON.parse(await textOf(response)).trailers, { 'x-sum': '3' }, 'but for what is injected')
})

t.test('a body is held back until the origin wants it, and an event is not held back at all', async (t) => {
  let release = (): unknown => undefined
  const { open, headers, requests } = await stage(t, {
    origin: {
      serve(request, response) {
        if (request.url === '/events') {
          response.writeHead(200, { 'content-type': 'text/event-stream' })
          response.flushHeaders()
          release = () => response.write('data: 1\n\n')
          return
        }
        // A server that answers early, while the body is still coming.
        response.end('enough')
      },
    },
  })
  const socket = await open()
  const sent = send(socket, {
    method: 'POST',
    path: '/early',
    headers: { ...headers, Connection: 'keep-alive', Expect: '100-continue', 'Content-Length': '6' },
  })
  sent.flushHeaders()
  const answered = once(sent, 'response') as Promise<[IncomingMessage]>
  await once(sent, 'continue')
  sent.write('abc')
  const [early] = await answered
  t.equal(await textOf(early), 'enough', 'answered before the body was complete')
  sent.end('def')
  await eventually(() => requests().length === 1)
  const refusedEarly = send(await open(), {
    method: 'POST',
    path: '/denied/',
    headers: { ...headers, Expect: '100-continue', 'Content-Length': '6' },
  })
  refusedEarly.on('continue', () => t.fail('no body is asked for that will not be forwarded'))
  refusedEarly.flushHeaders()
  t.equal(((await once(refusedEarly, 'response')) as [IncomingMessage])[0].statusCode, 403)
  const events = send(await open(), { path: '/events', headers })
  events.end()
  const [stream] = (await once(events, 'response')) as [IncomingMessage]
  t.equal(stream.headers['content-type'], 'text/event-stream', 'the head comes before the first event')
  release()
  t.equal(String(((await once(stream, 'data')) as [Buffer])[0]), 'data: 1\n\n')
})

async function tlsOrigin(t: Test, serve: (socket: TLSSocket) => void): Promise<string> {
  const server = createTlsServer(await pki.leaf('origin.test'), serve)
  const sockets = new Set<Socket>()
  server.on('connection', (socket: Socket) => sockets.add(socket))
  server.on('tlsClientError', () => undefined)
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  t.teardown(() => {
    for (const socket of sockets) socket.destroy()
    server.close()
  })
  return `origin.test:${(server.address() as AddressInfo).port}`
}

t.test('an origin that cannot be reached or does not speak HTTP gives an answer that says so', async (t) => {
  const answering = (bytes: string) =>
    tlsOrigin(t, (socket) => {
      socket.on('error', () => undefined)
      socket.once('data', () => socket.end(bytes))
    })
  const tcp = createTcpServer((socket) => socket.once('data', () => socket.end('no TLS here')))
  const silent = createTcpServer()
  for (const server of [tcp, silent])
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const closed = createTcpServer()
  await new Promise<void>((resolve) => closed.listen(0, '127.0.0.1', resolve))
  const portOf = (server: typeof tcp) => (server.address() as AddressInfo).port
  const closedPort = portOf(closed)
  closed.close()
  const held = new Set<Socket>()
  silent.on('connection', (socket) => held.add(socket))
  t.teardown(() => {
    for (const socket of held) socket.destroy()
    tcp.close()
    silent.close()
  })
  const silentHttp = await tlsOrigin(t, (socket) => void socket.on('error', () => undefined).resume())
  const { open, requests } = await stage(t, {
    gateway: {
      hosts: '{ origin.test: 127.0.0.1, private.test: 10.0.0.1, meta.test: "::ffff:169.254.169.254" }',
      more: 'limits: { connectMs: 200, upstreamIdleMs: 200 }',
    },
  })
  const cases: [authority: string, status: number, reason: string, detail: RegExp][] = [
    [`origin.test:${closedPort}`, 502, 'upstream-unreachable', /ECONNREFUSED/],
    [
      await answering('HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n'),
      502,
      'upstream-malformed',
      /a transfer coding/,
    ],
    [`origin.test:${portOf(tcp)}`, 502, 'upstream-tls', /ERR_SSL|EPROTO/],
    [`origin.test:${portOf(silent)}`, 504, 'upstream-timeout', /TLS handshake/],
    [silentHttp, 504, 'upstream-timeout', /^$/],
    [await answering(''), 502, 'upstream-closed', /ECONNRESET/],
    [await answering('hello\r\n\r\n'), 502, 'upstream-malformed', /HPE_/],
    [
      await answering('HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n'),
      502,
      'upstream-malformed',
      /HPE_/,
    ],
    [
      await answering('HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: Upgrade\r\n\r\n'),
      502,
      'upstream-malformed',
      /101/,
    ],
    [
      await answering(`HTTP/1.1 200 OK\r\nA: ${'x'.repeat(70_000)}\r\n\r\n`),
      502,
      'upstream-malformed',
      /HPE_HEADER_OVERFLOW/,
    ],
    ['name.invalid:443', 502, 'name-not-found', /ENOTFOUND|EAI_AGAIN/],
    ['private.test:443', 403, 'address-refused', /^$/],
    ['meta.test:80', 403, 'address-refused', /^$/],
  ]
  for (const [authority, status, reason, detail] of cases) {
    const before = requests().length
    const socket = await open(authority)
    const answer = await exchange(socket, { path: '/v1/x', headers: { Host: authority } })
    t.equal(answer.status, status, authority)
    t.match(answer.body, new RegExp(`^upstreamproxy-gateway: ${reason}: `), authority)
    const record = await eventually(() => requests().length > before && requests().at(-1))
    t.match(record, { decision: 'allow', reason, status })
    t.match(record['detail'] ?? '', detail)
    socket.destroy()
  }
  t.equal(requests().length, cases.length)
})

t.test('the gateway is not reached through itself', async (t) => {
  const { open, gateway } = await stage(t)
  const authority = `origin.test:${gateway.port}`
  const answer = await exchange(await open(authority), { headers: { Host: authority } })
  t.equal(answer.status, 403)
  t.match(answer.body, /gateway-itself/)
})

t.test(
  'nothing of a request reaches an origin whose certificate is not good, whatever the environment says',
  async (t) => {
    const before = process.env['NODE_TLS_REJECT_UNAUTHORIZED']
    process.env['NODE_TLS_REJECT_UNAUTHORIZED'] = '0'
    t.teardown(() => {
      if (before === undefined) delete process.env['NODE_TLS_REJECT_UNAUTHORIZED']
      else process.env['NODE_TLS_REJECT_UNAUTHORIZED'] = before
    })
    const other = await makePki()
    const { open, requests, auditText, logged } = await stage(t)
    const month = 30 * 24 * 60 * 60 * 1000
    const own = await selfSigned('origin.test')
    const cases: [name: string, certificate: { cert: string; key: string }, code: string][] = [
      ['expired', await pki.leaf('origin.test', Date.now() - 2 * month), 'CERT_HAS_EXPIRED'],
      ['not yet valid', await pki.leaf('origin.test', Date.now() + month), 'CERT_NOT_YET_VALID'],
      ['of another name', await pki.leaf('other.test'), 'ERR_TLS_CERT_ALTNAME_INVALID'],
      ['of an unknown issuer', await other.leaf('origin.test'), 'UNABLE_TO_VERIFY_LEAF_SIGNATURE'],
      ['self-signed', own, 'DEPTH_ZERO_SELF_SIGNED_CERT'],
    ]
    for (const [name, certificate, code] of cases) {
      for (const maxVersion of ['TLSv1.2', 'TLSv1.3'] as const) {
        let received = 0
        const server = createTlsServer({ ...certificate, maxVersion }, (socket) => {
          socket.on('error', () => undefined)
          socket.on('data', (bytes: Buffer) => {
            received += bytes.length
          })
        })
        server.on('tlsClientError', () => undefined)
        await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
        t.teardown(() => server.close())
        const authority = `origin.test:${(server.address() as AddressInfo).port}`
        const socket = await open(authority)
        const answer = await exchange(socket, {
          path: '/v1/x',
          method: 'POST',
          body: 'CANARY-body',
          headers: { Host: authority },
        })
        t.equal(answer.status, 502, name)
        t.ok(
          answer.body.includes(`upstream-certificate: the origin's certificate was not accepted (${code})`),
          answer.body,
        )
        await new Promise<void>((resolve) => server.close(() => resolve()))
        t.equal(received, 0, `${name}, ${maxVersion}: not one byte`)
        matchWhole(t, requests().at(-1), {
          reason: 'upstream-certificate',
          detail: code,
          injected: [],
          status: 502,
        })
        socket.destroy()
      }
    }
    t.notMatch(auditText() + logged(), /CANARY/)
  },
)

t.test('a response that breaks off is broken for the client, never short and clean', async (t) => {
  const breaking = (head: string, end: (socket: TLSSocket) => void) =>
    tlsOrigin(t, (socket) => {
      socket.on('error', () => undefined)
      socket.once('data', () => {
        socket.write(`${head}\r\n\r\nhello`)
        setTimeout(() => end(socket), 20)
      })
    })
  const reset = (socket: TLSSocket) => void socket.destroy()
  const cases: [name: string, authority: string][] = [
    ['a length, then a reset', await breaking('HTTP/1.1 200 OK\r\nContent-Length: 100', reset)],
    [
      'a length, then an end',
      await breaking('HTTP/1.1 200 OK\r\nContent-Length: 100', (socket) => void socket.end()),
    ],
    [
      'chunks, then a reset',
      await breaking('HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n8', reset),
    ],
    [
      'chunks, then an end',
      await breaking(
        'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n5',
        (socket) => void socket.end(),
      ),
    ],
    [
      'chunks, then nonsense',
      await breaking(
        'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\nzz\r\n',
        () => undefined,
      ),
    ],
  ]
  const { open, requests, records } = await stage(t)
  for (const [name, authority] of cases) {
    const socket = await open(authority)
    const tunnel = tunnelOf(socket)
    socket.write(`GET / HTTP/1.1\r\nHost: ${authority}\r\n\r\n`)
    await t.rejects(readAll(socket), /tunnel closed with 1011/, name)
    t.equal(await tunnel.closeCode, 1011)
    t.match(requests().at(-1), { decision: 'allow', reason: 'upstream-aborted', status: 200 }, name)
    await eventually(
      () => records().at(-1)?.['event'] === 'connect' && records().at(-1)?.['reason'] === 'upstream-aborted',
    )
  }
})

t.test('a client that goes away takes its request along', async (t) => {
  let aborted = 0
  const { open, headers, requests, origin } = await stage(t, {
    origin: {
      serve(request, response) {
        request.resume()
        response.on('close', () => aborted++)
        if (request.url === '/begun') response.write('x')
      },
    },
  })
  for (const [path, method] of [
    ['/waiting', 'GET'],
    ['/begun', 'GET'],
    ['/upload', 'POST'],
  ] as const) {
    const socket = await open()
    const before = aborted
    const recorded = requests().length
    const sent = send(socket, {
      path,
      method,
      headers: { ...headers, ...(method === 'POST' && { 'Content-Length': '100' }) },
    })
    sent.on('error', () => undefined)
    const begun = path === '/begun' ? once(sent, 'response') : undefined
    if (method === 'POST') sent.write('x')
    else sent.end()
    const count = origin.requests.length
    await eventually(() => origin.requests.length > count)
    await begun
    const started = Date.now()
    tunnelOf(socket).destroy()
    await eventually(() => aborted > before)
    t.ok(Date.now() - started < 1000, `${path}: within a second`)
    t.match(
      await eventually(() => requests().length > recorded && requests().at(-1)),
      { reason: 'client-aborted', status: path === '/begun' ? 200 : null, path },
      path,
    )
  }
  t.equal(requests().length, 3)
})

t.test('a connection that the origin has closed meanwhile is not held against a request', async (t) => {
  const { open, origin, headers, requests } = await stage(t)
  const socket = await open()
  for (let i = 0; i < 5; i++) {
    t.equal((await exchange(socket, { path: `/${i}`, headers })).status, 200)
    for (const connection of origin.connections.splice(0)) connection.destroy()
  }
  t.equal(
    requests().every(({ status }) => status === 200),
    true,
  )
})

t.test('a silence of the origin is one of upstreamIdleMs, on kept connections too', async (t) => {
  const { open, origin, headers } = await stage(t, {
    gateway: { more: 'limits: { upstreamKeepAliveMs: 60, upstreamIdleMs: 10000 }' },
    origin: { serve: (_, response) => void setTimeout(() => response.end('late'), 250) },
  })
  const socket = await open()
  for (let i = 0; i < 2; i++) t.equal((await exchange(socket, { path: '/', headers })).body, 'late')
  t.equal(origin.connections.length, 1)
  await eventually(() => origin.connections[0]?.destroyed, 5000)
  t.equal((await exchange(socket, { path: '/', headers })).body, 'late')
  t.equal(origin.connections.length, 2, 'and an idle connection is kept no longer than upstreamKeepAliveMs')
})

t.test('sessions do not share connections to an origin', async (t) => {
  const { gateway, origin, open, headers } = await stage(t)
  await exchange(await open(), { path: '/', headers })
  await exchange(await open(), { path: '/', headers })
  t.equal(origin.connections.length, 1, 'one session does, over tunnels')
  const socket = await secure(gateway.url, origin.authority, {
    ca: gateway.caCertificate,
    connect: { token: TOKEN_2, credentials: basic('session-2', TOKEN_2) },
  })
  await exchange(socket, { path: '/', headers })
  socket.destroy()
  t.equal(origin.connections.length, 2)
})

t.test('a tunnel without requests is ended, not cut', async (t) => {
  const { open, headers, records } = await stage(t, { gateway: { more: 'limits: { idleMs: 50 }' } })
  const socket = await open()
  await exchange(socket, { path: '/', headers })
  const tunnel = tunnelOf(socket)
  socket.resume()
  t.equal(await tunnel.closeCode, 1000)
  t.match(await eventually(() => records().find(({ event }) => event === 'connect')), {
    reason: null,
    requests: 1,
  })
})
