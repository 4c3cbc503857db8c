/** The way to the gateway: no connection, TLS that does not hold, an upgrade that is refused or not one. */
import { type AddressInfo, createServer, type Server, type Socket } from 'node:net'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { makeCa, makeLeaf } from '../support/certificates.js'

import { eventually, pause } from '../support/deadline.js'
import { RawClient } from '../support/raw-client.js'
import { Bench, connectHead, isOwnAnswer } from './bench.js'
import { RelayProcess } from './relay-process.js'
import { chunk } from './strict-gateway/chunk.js'
import { ESTABLISHED, type GatewayConnection } from './strict-gateway/connection.js'
import { encodeFrame, PING } from './strict-gateway/frames.js'
import { StrictGateway } from './strict-gateway/gateway.js'

type Act = (tunnel: GatewayConnection) => Promise<void>
const UNAUTHORIZED = 'ERR_GATEWAY_UNAUTHORIZED'
const UPGRADE = 'ERR_GATEWAY_UPGRADE'

for (const scheme of ['ws', 'wss'] as const) {
  t.test(`the upgrade over ${scheme}`, async (t) => {
    const bench = await Bench.start(t, { scheme })
    await bench.test('an upgrade that is refused, or is none: 502 with its reason', async (t) => {
      for (const [title, act, code] of refusals(bench.token)) {
        const client = await bench.dial('origin.test:443', 'early bytes')
        const tunnel = (await bench.gateway.next()).provoked()
        await tunnel.request()
        await act(tunnel)
        const { body } = await isOwnAnswer(t, client, 502, code, title)
        t.notMatch(body, /evil|[^ -~\n]/, `${title}: nothing of the gateway’s words`)
        t.equal(tunnel.messages, 0, `${title}: no CONNECT was sent`)
      }
    })

    await bench.test('a gateway gone before the upgrade: 502', async (t) => {
      for (const act of [
        async (tunnel: GatewayConnection) => tunnel.reset(),
        async (tunnel: GatewayConnection) => tunnel.fin(),
        async (tunnel: GatewayConnection) => void (await tunnel.request().then(() => tunnel.reset())),
        async (tunnel: GatewayConnection) => void (await tunnel.request().then(() => tunnel.fin())),
      ]) {
        const client = await bench.dial()
        await act((await bench.gateway.next()).provoked())
        const { status, headers } = await client.answer()
        t.equal(status, 502)
        t.match(headers['proxy-status'], /details="ERR_GATEWAY_(UPGRADE|UNREACHABLE|TLS)"/)
        t.equal((await client.rest()).ending, 'fin')
      }
    })

    await bench.test('frames right behind the 101 are read as such', async (t) => {
      const client = await bench.dial('origin.test:443', 'hello')
      const tunnel = await bench.gateway.next()
      const ping = encodeFrame({ opcode: PING, payload: Buffer.from('at once') }).toString('latin1')
      const keepalive = encodeFrame({ payload: chunk('') }).toString('latin1')
      await tunnel.upgrade((accept) => `${switching(accept)}${ping}${keepalive}`)
      await tunnel.connect()
      tunnel.answer()
      t.equal((await client.inbox.read(ESTABLISHED.length)).toString(), ESTABLISHED)
      await tunnel.inbox.read(5)
      t.same(tunnel.pongs, [Buffer.from('at once')])
    })

    await bench.test('a 101 may be spelled as HTTP allows, and come behind interim answers', async (t) => {
      for (const [title, head] of spellings()) {
        const client = await bench.dial()
        const tunnel = await bench.gateway.next()
        await tunnel.upgrade(head)
        await tunnel.connect()
        tunnel.answer()
        t.equal((await client.inbox.read(ESTABLISHED.length)).toString(), ESTABLISHED, title)
      }
    })

    await bench.test('a 101 cut at any byte, and frames behind it, are read as one stream', async (t) => {
      const early = `${encodeFrame({ opcode: PING, payload: Buffer.from('p') }).toString('latin1')}`
      for (let at = 1; at < switching('x'.repeat(28)).length + early.length; at += 13) {
        const client = await bench.dial()
        const tunnel = await bench.gateway.next()
        let rest = ''
        await tunnel.upgrade((accept) => {
          const all = `${switching(accept)}${early}`
          rest = all.slice(at)
          return all.slice(0, at)
        })
        await pause(2)
        tunnel.raw(rest)
        await tunnel.connect()
        tunnel.answer()
        t.equal((await client.inbox.read(ESTABLISHED.length)).toString(), ESTABLISHED, `${at}`)
        await eventually(() => tunnel.pongs.length === 1, 'the pong')
      }
    })
  })
}

t.test('TLS to the gateway', async (t) => {
  const ca = await makeCa({ name: 'right roots' })
  const otherCa = await makeCa({ name: 'other roots' })
  const past = { notBefore: new Date(Date.now() - 2 * DAY_MS), notAfter: new Date(Date.now() - DAY_MS) }
  const future = { notBefore: new Date(Date.now() + DAY_MS), notAfter: new Date(Date.now() + 2 * DAY_MS) }
  const local = { dns: ['localhost'] }
  const bad = [
    ['for another name', await makeLeaf(ca, { dns: ['elsewhere.test'] })],
    ['of an unknown CA', await makeLeaf(otherCa, local)],
    ['that has expired', await makeLeaf(ca, { ...local, ...past })],
    ['that is not valid yet', await makeLeaf(ca, { ...local, ...future })],
    ['signed by itself', await makeCa({ name: 'localhost' })],
  ] as const
  for (const [title, leaf] of bad) {
    await t.test(`a certificate ${title} is refused, whatever the environment says`, async (t) => {
      const gateway = await StrictGateway.listen({ ...CREDENTIALS, host: 'localhost', tls: pem(leaf) })
      t.teardown(() => gateway.close())
      gateway.script = async (tunnel) => void tunnel.provoked()
      // What children trust, the downloaded CA among it, does not vouch for the gateway either (invariant 8).
      const trusted = join(t.testdir({ 'ca.pem': otherCa.certPem }), 'ca.pem')
      const relay = await startRelay(t, gateway.baseUrl, ca.certPem, {
        NODE_TLS_REJECT_UNAUTHORIZED: '0',
        NODE_EXTRA_CA_CERTS: trusted,
        SSL_CERT_FILE: trusted,
      })
      const client = await dial(t, relay)
      await isOwnAnswer(t, client, 502, 'ERR_GATEWAY_TLS')
      const [connection] = gateway.connections
      await t.rejects(connection!.request(), /no upgrade request/, 'the token was not sent')
      t.same(gateway.complaints, [])
      t.notMatch(relay.stderr, CREDENTIALS.token)
    })
  }

  await t.test('a gateway by IP address is verified by that address, without SNI', async (t) => {
    const gateway = await StrictGateway.listen({
      ...CREDENTIALS,
      tls: pem(await makeLeaf(ca, { ip: ['127.0.0.1'] })),
    })
    t.teardown(() => gateway.close())
    const relay = await startRelay(t, gateway.baseUrl, ca.certPem)
    await dial(t, relay)
    await (await gateway.next()).open()
    t.same(gateway.complaints, [])
  })

  await t.test('tunnels resume the TLS session of those before', async (t) => {
    const bench = await Bench.start(t, { scheme: 'wss' })
    await bench.test('sessions are resumed', async (t) => {
      const resumed: boolean[] = []
      for (let i = 0; i < 6; i++) {
        const { client, tunnel } = await bench.open()
        // A session may be known only once something has been read behind the handshake.
        tunnel.send('x')
        await client.inbox.read(1)
        resumed.push(tunnel.isSessionReused)
      }
      t.same(resumed, [false, true, true, true, true, true])
    })
  })

  await t.test('what is no TLS, a handshake that never ends, and nobody at all are told apart', async (t) => {
    const answers: [string, (socket: Socket) => void, number, string][] = [
      ['plain HTTP', (socket) => socket.end('HTTP/1.1 400 Bad Request\r\n\r\n'), 502, 'ERR_GATEWAY_TLS'],
      ['garbage', (socket) => socket.end(Buffer.alloc(100, 0x55)), 502, 'ERR_GATEWAY_TLS'],
      ['silence', () => undefined, 504, 'ERR_GATEWAY_TIMEOUT'],
    ]
    for (const [title, answer, status, code] of answers) {
      const server = await listen(t, answer)
      const relay = await startRelay(t, `https://localhost:${portOf(server)}`, ca.certPem)
      await isOwnAnswer(t, await dial(t, relay), status, code, title)
    }
    for (const protocol of ['http', 'https']) {
      const server = await listen(t, () => undefined)
      const gone = portOf(server)
      await new Promise((resolve) => server.close(resolve))
      const relay = await startRelay(t, `${protocol}://127.0.0.1:${gone}`, ca.certPem)
      await isOwnAnswer(t, await dial(t, relay), 502, 'ERR_GATEWAY_UNREACHABLE', protocol)
    }
  })
})

/** What may come instead of a proper 101, and the code that the relay gives it. */
function refusals(token: string): (readonly [title: string, act: Act, code: string])[] {
  const refuse =
    (statusLine: string, headers = '', body = '') =>
    (tunnel: GatewayConnection) =>
      tunnel.refuseUpgrade(statusLine, headers, body)
  const instead = (change: (head: string) => string) => (tunnel: GatewayConnection) =>
    tunnel.upgrade((accept) => change(switching(accept)))
  return [
    ['401', refuse('401 Unauthorized'), UNAUTHORIZED],
    ['403', refuse('403 Forbidden'), UNAUTHORIZED],
    ['401 that repeats the token', refuse(`401 ${token}`, `X-Token: ${token}\r\n`, token), UNAUTHORIZED],
    ['403 with words for a terminal', refuse('403 evil', '', '<b>evil</b>\x1b[2J'), UNAUTHORIZED],
    ['401 of HTTP/1.0', instead(() => 'HTTP/1.0 401 Unauthorized\r\n\r\n'), UNAUTHORIZED],
    [
      '401 behind an interim answer',
      instead(() => 'HTTP/1.1 100 C\r\n\r\nHTTP/1.1 401 X\r\n\r\n'),
      UNAUTHORIZED,
    ],
    ['407', refuse('407 Proxy Authentication Required'), UNAUTHORIZED],
    ['400', refuse('400 Bad Request'), UPGRADE],
    ['404', refuse('404 Not Found'), UPGRADE],
    ['415', refuse('415 Unsupported Media Type'), UPGRADE],
    ['426', refuse('426 Upgrade Required', 'Upgrade: h2c\r\n'), UPGRADE],
    ['500', refuse('500 Internal Server Error'), UPGRADE],
    ['200', refuse('200 OK', '', 'hello'), UPGRADE],
    ['a redirect, which is not followed', refuse('302 Found', 'Location: http://evil.test/\r\n'), UPGRADE],
    ['a wrong Sec-WebSocket-Accept', instead((head) => head.replace(/Accept: ./, 'Accept: x')), UPGRADE],
    ['no Sec-WebSocket-Accept', instead((head) => head.replace(/Sec-.*?\r\n/, '')), UPGRADE],
    [
      'an Upgrade to something else',
      instead((head) => head.replace('Upgrade: websocket', 'Upgrade: h2c')),
      UPGRADE,
    ],
    ['no Upgrade header', instead((head) => head.replace('Upgrade: websocket\r\n', '')), UPGRADE],
    [
      'an extension that nobody offered',
      instead(also('Sec-WebSocket-Extensions: permessage-deflate')),
      UPGRADE,
    ],
    ['a subprotocol that nobody offered', instead(also('Sec-WebSocket-Protocol: evil')), UPGRADE],
    ['Sec-WebSocket-Accept twice', instead(also('Sec-WebSocket-Accept: x')), UPGRADE],
    ['an Accept with a no-break space', instead((head) => head.replace('Accept: ', 'Accept: \xa0')), UPGRADE],
    ['Upgrade twice', instead(also('Upgrade: websocket')), UPGRADE],
    ['no Connection', instead((head) => head.replace('Connection: Upgrade\r\n', '')), UPGRADE],
    [
      'a Connection that is something else',
      instead((head) => head.replace('n: Upgrade', 'n: Upgraded')),
      UPGRADE,
    ],
    ['a fold', instead(also('X: a\r\n b')), UPGRADE],
    ['a bare CR', instead(also('X: a\rb')), UPGRADE],
    ['bare LFs', instead((head) => head.replaceAll('\r\n', '\n')), UPGRADE],
    ['NUL', instead(also('X: a\0b')), UPGRADE],
    ['a header without a colon', instead(also('X')), UPGRADE],
    ['a space before a colon', instead((head) => head.replace('Upgrade:', 'Upgrade :')), UPGRADE],
    ['HTTP/1.2', instead((head) => head.replace('HTTP/1.1', 'HTTP/1.2')), UPGRADE],
    ['an interim answer of HTTP/1.0', instead((head) => `HTTP/1.0 100 C\r\n\r\n${head}`), UPGRADE],
    ['an interim answer that is broken', instead((head) => `HTTP/1.1 100 C\r\nX\r\n\r\n${head}`), UPGRADE],
    ['a head over 16 KiB', instead(also(`X: ${'a'.repeat(17_000)}`)), UPGRADE],
    ['no HTTP', instead(() => 'SSH-2.0-evil\r\n\r\n'), UPGRADE],
    ['a head that does not end', instead(() => `HTTP/1.1 101 X\r\n${'X: evil\r\n'.repeat(20_000)}`), UPGRADE],
    [
      'half a 101, then FIN',
      async (tunnel) => {
        tunnel.raw('HTTP/1.1 101 Switching')
        tunnel.fin()
      },
      UPGRADE,
    ],
  ]
}

/** Answers that are proper ones all the same. */
function spellings(): (readonly [title: string, head: (accept: string) => string])[] {
  return [
    [
      'other cases, another order, no reason',
      (accept) =>
        `HTTP/1.1 101 \r\nconnection: keep-alive, UPGRADE\r\nDate: x\r\nUPGRADE: WebSocket\r\nsec-websocket-accept:${accept}\r\n\r\n`,
    ],
    ['not even the space for a reason', (accept) => switching(accept).replace(' Switching Protocols', '')],
    ['Connection twice', (accept) => also('Connection: keep-alive')(switching(accept))],
    [
      'white space',
      (accept) => switching(accept).replaceAll(': ', ': \t ').replace('websocket', 'websocket \t'),
    ],
    ['a length that means nothing', (accept) => also('Content-Length: 5')(switching(accept))],
    ['bytes beyond ASCII', (accept) => also('X: \xe4')(switching(accept))],
    ['behind a 100', (accept) => `HTTP/1.1 100 Continue\r\n\r\n${switching(accept)}`],
    [
      'behind a 102 and a 103',
      (accept) => `HTTP/1.1 102 X\r\n\r\nHTTP/1.1 103 X\r\nLink: </a>\r\n\r\n${switching(accept)}`,
    ],
  ]
}

function also(header: string): (head: string) => string {
  return (head) => head.replace('\r\n\r\n', `\r\n${header}\r\n\r\n`)
}

function switching(accept: string): string {
  return `HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: ${accept}\r\n\r\n`
}

function pem({ certPem, keyPem }: { certPem: string; keyPem: string }) {
  return { cert: certPem, key: keyPem }
}

async function startRelay(t: Test, baseUrl: string, caPem: string, env: Record<string, string> = {}) {
  const limits = { gatewayTimeoutMs: 500 }
  const relay = await RelayProcess.start({ ...CREDENTIALS, baseUrl, caPem, limits, env })
  t.teardown(() => relay.stop())
  return relay
}

async function dial(t: Test, relay: RelayProcess): Promise<RawClient> {
  const client = await RawClient.connect(relay.port)
  t.teardown(() => client.socket.destroy())
  client.write(connectHead('origin.test:443'))
  return client
}

async function listen(t: Test, onConnection: (socket: Socket) => void): Promise<Server> {
  const sockets = new Set<Socket>()
  const server = createServer((socket) => {
    sockets.add(socket)
    socket.on('error', () => undefined)
    socket.resume()
    onConnection(socket)
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  t.teardown(() => {
    for (const socket of sockets) socket.destroy()
    server.close()
  })
  return server
}

function portOf(server: Server): number {
  return (server.address() as AddressInfo).port
}

const CREDENTIALS = { sessionId: 'session-tls', token: 'token-that-must-not-show' }
const DAY_MS = 24 * 60 * 60 * 1000
