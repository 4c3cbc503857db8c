/** The judge judged: a client written by hand does each thing that is forbidden, and the strict gateway says so. */
import { randomBytes } from 'node:crypto'
import t from 'tap'
import { eventually, within } from '../../support/deadline.js'
import { matchWhole } from '../../support/match-whole.js'
import { RawClient } from '../../support/raw-client.js'
import { chunk, readChunkStrictly, varint } from './chunk.js'
import type { Departure, GatewayConnection } from './connection.js'
import {
  BINARY,
  CLOSE,
  CONTINUATION,
  encodeFrame,
  FrameReader,
  type FrameShape,
  PING,
  PONG,
  TEXT,
} from './frames.js'
import { StrictGateway } from './gateway.js'

const CREDENTIALS = { sessionId: 'session-1', token: 'a-token' }
const BASIC = Buffer.from('session-1:a-token').toString('base64')
const CONNECT = `CONNECT origin.test:443 HTTP/1.1\r\nProxy-Authorization: Basic ${BASIC}\r\n\r\n`

const gateway = await StrictGateway.listen(CREDENTIALS)
t.teardown(() => gateway.close())

function upgradeHead(change: (lines: string[]) => string[] = (lines) => lines): string {
  const lines = [
    'GET /v1/code/upstreamproxy/ws HTTP/1.1',
    `Host: 127.0.0.1:${gateway.port}`,
    'Upgrade: websocket',
    'Connection: Upgrade',
    `Sec-WebSocket-Key: ${randomBytes(16).toString('base64')}`,
    'Sec-WebSocket-Version: 13',
    'Authorization: Bearer a-token',
    'Content-Type: application/proto',
  ]
  return `${change(lines).join('\r\n')}\r\n\r\n`
}

function masked(shape: FrameShape): Buffer {
  return encodeFrame({ maskingKey: randomBytes(4), ...shape })
}

function message(bytes: Uint8Array): Buffer {
  return masked({ payload: bytes })
}

/** What the gateway complains of when a client does this after a proper upgrade. */
async function complaintsAbout(
  act: (client: RawClient, connection: GatewayConnection) => Promise<void> | void,
  head = upgradeHead(),
): Promise<{ complaints: string[]; departure: Departure }> {
  gateway.complaints.length = 0
  const client = await RawClient.connect(gateway.port)
  const connection = await gateway.next()
  client.write(head)
  await connection.upgrade()
  await client.inbox.readThrough('\r\n\r\n')
  await act(client, connection)
  client.end()
  const departure = await within(connection.over, 'the end of the connection')
  client.socket.destroy()
  return { complaints: gateway.complaints.map((text) => text.replace(/^connection \d+: /, '')), departure }
}

function leaveWell(client: RawClient): void {
  client.write(masked({ opcode: CLOSE, payload: Buffer.from([0x03, 0xe8]) }))
}

/** Sends the bytes, then says goodbye as one should, so that only the bytes are at fault. */
async function faultsOf(...frames: Uint8Array[]): Promise<string[]> {
  const { complaints } = await complaintsAbout(async (client) => {
    client.write(Buffer.concat(frames))
    leaveWell(client)
    await within(client.ending, 'the end of the handshake', 500).catch(() => undefined)
  })
  return complaints
}

t.test('a relay that does all as it should is not complained of', async (t) => {
  const big = randomBytes(512 * 1024)
  const { complaints, departure } = await complaintsAbout(async (client, connection) => {
    client.write(message(chunk(CONNECT)))
    t.equal(await connection.connect(), 'origin.test:443')
    connection.answer()
    client.write(Buffer.concat([message(chunk('')), message(chunk('hello')), message(chunk(big))]))
    // Fragments with a ping between them are within the RFC.
    const [first, second] = [chunk('split').subarray(0, 3), chunk('split').subarray(3)]
    client.write(masked({ payload: first, fin: false }))
    client.write(masked({ opcode: PING, payload: Buffer.from('p') }))
    client.write(masked({ opcode: CONTINUATION, payload: second }))
    leaveWell(client)
    t.equal(await connection.closed, 1000)
    t.same(await connection.inbox.readAll(), Buffer.concat([Buffer.from('hello'), big, Buffer.from('split')]))
    await client.ending
  })
  t.same(complaints, [])
  t.same(departure, { close: { code: 1000 }, tcp: 'fin' })
})

t.test('each fault in the upgrade request is named', async (t) => {
  const without = (name: string) => (lines: string[]) => lines.filter((line) => !line.startsWith(`${name}:`))
  const instead = (name: string, value: string) => (lines: string[]) =>
    lines.map((line) => (line.startsWith(`${name}:`) ? `${name}: ${value}` : line))
  const also = (line: string) => (lines: string[]) => [...lines, line]
  const cases: [(lines: string[]) => string[], string][] = [
    [([, ...rest]) => ['POST /v1/code/upstreamproxy/ws HTTP/1.1', ...rest], 'request line is POST'],
    [([, ...rest]) => ['GET /v1/code/upstreamproxy/ws?x HTTP/1.1', ...rest], 'request line is'],
    [([, ...rest]) => ['GET /v1/code/upstreamproxy/ws HTTP/1.0', ...rest], 'request line is'],
    [without('Host'), 'no host'],
    [instead('Host', 'elsewhere'), 'host is elsewhere'],
    [without('Upgrade'), 'no upgrade'],
    [instead('Connection', 'keep-alive'), 'connection is keep-alive'],
    [instead('Sec-WebSocket-Key', Buffer.alloc(15).toString('base64')), 'sec-websocket-key is'],
    [instead('Sec-WebSocket-Key', 'x'.repeat(24)), 'sec-websocket-key is'],
    [instead('Sec-WebSocket-Version', '8'), 'sec-websocket-version is 8'],
    [instead('Authorization', 'bearer a-token'), 'authorization is wrong'],
    [instead('Authorization', 'Bearer another'), 'authorization is wrong'],
    [without('Content-Type'), 'no content-type'],
    [instead('Content-Type', 'application/proto; charset=utf-8'), 'content-type is'],
    [also('Content-Type: application/proto'), 'two Content-Type headers'],
    [also('Sec-WebSocket-Extensions: permessage-deflate'), 'uncalled-for sec-websocket-extensions'],
    [also('Sec-WebSocket-Protocol: x'), 'uncalled-for sec-websocket-protocol'],
    [also('Content-Length: 0'), 'uncalled-for content-length'],
    [also('Cookie: a=b'), 'uncalled-for cookie'],
    [also(' folded'), 'a line that is no header'],
  ]
  for (const [change, expected] of cases) {
    const { complaints } = await complaintsAbout((client) => leaveWell(client), upgradeHead(change))
    t.equal(complaints.length, 1, expected)
    t.match(complaints[0], expected)
  }
})

t.test('bytes before the answer to the upgrade are complained of', async (t) => {
  gateway.complaints.length = 0
  const client = await RawClient.connect(gateway.port)
  client.write(`${upgradeHead()}early`)
  const connection = (await gateway.next()).provoked()
  await connection.request()
  matchWhole(t, gateway.complaints, [/bytes right behind the upgrade request/])
  client.write('late')
  await eventually(() => gateway.complaints.length === 2, 'another complaint')
  t.match(gateway.complaints[1], /bytes before the answer/)
  client.end()
  await connection.over
})

t.test('each fault in a frame is named', async (t) => {
  const connect = message(chunk(CONNECT))
  const hello = chunk('hello')
  const zeroKey = Buffer.alloc(4)
  const key = randomBytes(4)
  const counted = (n: number) => Buffer.from([7, 7, 7, n])
  const cases: [string, Uint8Array[], RegExp][] = [
    ['unmasked', [encodeFrame({ payload: hello })], /^an unmasked frame/],
    ['RSV1', [masked({ payload: hello, rsv: 0x40 })], /^RSV bits 0x40/],
    ['RSV3', [masked({ payload: hello, rsv: 0x10 })], /^RSV bits 0x10/],
    ['opcode 3', [masked({ payload: hello, opcode: 0x3 })], /^opcode 0x3/],
    ['opcode b', [masked({ opcode: 0xb })], /^opcode 0xb/],
    ['16-bit length', [masked({ payload: hello, lengthForm: 16 })], /^a length of 7 not in its shortest/],
    ['64-bit length', [masked({ payload: hello, lengthForm: 64 })], /^a length of 7 not in its shortest/],
    ['64-bit for 16', [masked({ payload: chunk(Buffer.alloc(300)), lengthForm: 64 })], /not in its shortest/],
    ['text', [masked({ payload: hello, opcode: TEXT })], /^a text message/],
    ['fragmented ping', [masked({ opcode: PING, fin: false })], /^a fragmented control frame/],
    ['long pong', [masked({ opcode: PONG, payload: Buffer.alloc(126) })], /^a control frame of 126 bytes/],
    ['zero key', [masked({ payload: hello, maskingKey: zeroKey })], /^an all-zero masking key/],
    [
      'same key',
      [masked({ payload: hello, maskingKey: key }), masked({ payload: hello, maskingKey: key })],
      /^the masking key of the frame before/,
    ],
    [
      'counter',
      [1, 2, 3].map((n) => masked({ payload: hello, maskingKey: counted(n) })),
      /that a counter gives/,
    ],
    [
      'recycled',
      [9, 5, 9, 5].map((n) => masked({ payload: hello, maskingKey: counted(n * n) })),
      /^masking keys that repeat/,
    ],
    ['continuation', [masked({ opcode: CONTINUATION, payload: hello })], /^a continuation of nothing/],
    [
      'nested',
      [masked({ payload: hello, fin: false }), masked({ payload: hello })],
      /^a message inside another/,
    ],
  ]
  for (const [title, frames, expected] of cases) {
    const complaints = await faultsOf(connect, ...frames)
    matchWhole(t, complaints, [expected], title)
    t.equal(complaints.length, 1, title)
  }
  const { complaints } = await complaintsAbout((client, connection) => {
    connection.provoked()
    client.write(Buffer.concat([connect, masked({ claimedBytes: 2n ** 63n })]))
  })
  matchWhole(t, complaints, [/^a frame of 9223372036854776000 bytes/])
})

t.test('each fault in a message or their order is named', async (t) => {
  const connect = message(chunk(CONNECT))
  const cases: [string, Uint8Array[], RegExp][] = [
    ['no bytes', [connect, message(Buffer.alloc(0))], /^a message of no bytes/],
    ['long varint', [connect, message(Buffer.from([0x0a, 0x81, 0x00, 0x61]))], /varint is not minimal/],
    ['long keepalive', [connect, message(Buffer.from([0x0a, 0x80, 0x00]))], /varint is not minimal/],
    ['short', [connect, message(Buffer.from([0x0a, 0x05, 0x61]))], /exactly one chunk/],
    ['two chunks', [connect, message(Buffer.concat([chunk('a'), chunk('b')]))], /exactly one chunk/],
    ['other field', [connect, message(Buffer.from([0x12, 0x01, 0x61]))], /begins with 0x12/],
    ['too long', [connect, message(chunk(Buffer.alloc(512 * 1024 + 1)))], /over 512 KiB/],
    ['keepalive first', [message(chunk('')), connect], /^a keepalive before the CONNECT/],
    ['data first', [message(chunk('hello'))], /^a first chunk that is not exactly/],
    ['head and data', [message(chunk(`${CONNECT}hello`))], /^a first chunk that is not exactly/],
    ['more headers', [message(chunk(CONNECT.replace('\r\n', '\r\nHost: x\r\n')))], /^a first chunk that/],
    ['wrong token', [message(chunk(CONNECT.replace(BASIC, `${BASIC}x`)))], /^a first chunk that/],
    ['upper case', [message(chunk(CONNECT.replace('origin', 'Origin')))], /^a first chunk that/],
    ['no port', [message(chunk(CONNECT.replace(':443', '')))], /^a first chunk that/],
  ]
  for (const [title, frames, expected] of cases) {
    const complaints = await faultsOf(...frames)
    matchWhole(t, complaints, [expected], title)
    t.equal(complaints.length, 1, title)
  }
})

t.test('data that comes after the relay has read a refusal is complained of', async (t) => {
  const refused = 'HTTP/1.1 403 Forbidden\r\n\r\n'
  const act = (afterPong: boolean) => (client: RawClient, connection: GatewayConnection) =>
    connect(client, connection, afterPong)
  async function connect(client: RawClient, connection: GatewayConnection, afterPong: boolean) {
    client.write(message(chunk(CONNECT)))
    await connection.connect()
    connection.answer(refused)
    const pong = masked({ opcode: PONG, payload: Buffer.from('refusal read?') })
    const data = message(chunk('more'))
    client.write(Buffer.concat(afterPong ? [pong, data] : [data, pong]))
    leaveWell(client)
    await client.ending
  }
  matchWhole(t, (await complaintsAbout(act(true))).complaints, [/^4 bytes after an answer other than 2xx/])
  t.same((await complaintsAbout(act(false))).complaints, [])
})

t.test('each fault in the closing handshake is named', async (t) => {
  const connect = message(chunk(CONNECT))
  const closing = (payload: Uint8Array) => masked({ opcode: CLOSE, payload })
  const code = (n: number) => Buffer.from([n >> 8, n & 0xff])
  for (const n of [0, 999, 1004, 1005, 1006, 1015, 1016, 2999, 5000]) {
    const { complaints } = await complaintsAbout(async (client) => {
      client.write(Buffer.concat([connect, closing(code(n))]))
      await client.ending
    })
    matchWhole(t, complaints, [new RegExp(`^a Close with code ${n} `)])
  }
  const cases: [string, Uint8Array[], RegExp, RegExp?][] = [
    ['half a code', [closing(Buffer.from([3]))], /^a Close with half a code/],
    ['reason', [closing(Buffer.from([0x03, 0xe8, 0xff]))], /^a Close with a reason that is not UTF-8/],
    ['frame after', [closing(code(1000)), message(chunk('x'))], /^a frame after Close, opcode 0x2/],
    [
      'inside',
      [masked({ opcode: BINARY, fin: false }), closing(code(1000))],
      /^a Close inside a message/,
      /^TCP ended inside a message/,
    ],
  ]
  for (const [title, frames, ...expected] of cases) {
    const { complaints } = await complaintsAbout(async (client) => {
      client.write(Buffer.concat([connect, ...frames]))
      await client.ending
    })
    matchWhole(t, complaints, expected, title)
  }
})

t.test(
  'each way of leaving without the closing handshake is named, and none where it was provoked',
  async (t) => {
    const half = message(chunk('hello')).subarray(0, 5)
    const leaving: [string, (client: RawClient, connection: GatewayConnection) => void, RegExp][] = [
      ['FIN', (client) => client.end(), /^TCP ended without a Close/],
      ['inside a frame', (client) => client.write(half), /^TCP ended inside a frame/],
      ['inside a message', (client) => client.write(masked({ fin: false })), /^TCP ended inside a message/],
      ['RST', (client) => client.reset(), /^the connection was reset/],
      [
        'first to end TCP',
        (client, connection) => {
          connection.autoClose = false
          leaveWell(client)
        },
        /^TCP ended before the gateway answered/,
      ],
    ]
    for (const [title, leave, expected] of leaving) {
      const { complaints } = await complaintsAbout(leave)
      matchWhole(t, complaints, [expected], title)
      const provoked = await complaintsAbout((client, connection) => leave(client, connection.provoked()))
      t.same(provoked.complaints, [], title)
    }
  },
)

t.test('a nonce that was used before is complained of', async (t) => {
  const head = upgradeHead()
  await complaintsAbout((client) => leaveWell(client), head)
  const { complaints } = await complaintsAbout((client) => leaveWell(client), head)
  t.same(gateway.complaints.length, 1)
  matchWhole(t, complaints, [/^a Sec-WebSocket-Key that was used before/])
})

t.test('frames are read alike however the bytes are cut', async (t) => {
  const frames = [
    masked({ payload: chunk('a') }),
    masked({ payload: chunk(randomBytes(300)) }),
    masked({ payload: chunk(randomBytes(70_000)) }),
    masked({ opcode: PING, payload: Buffer.from('p') }),
  ]
  const whole = readAll([Buffer.concat(frames)])
  t.equal(whole.length, 4)
  for (const bytes of [1, 2, 7, 13, 1000]) {
    const all = Buffer.concat(frames)
    const pieces = Array.from({ length: Math.ceil(all.length / bytes) }, (_, i) =>
      Buffer.from(all.subarray(i * bytes, (i + 1) * bytes)),
    )
    t.same(readAll(pieces), whole, `${bytes} at a time`)
  }
  function readAll(pieces: Buffer[]): string[] {
    const reader = new FrameReader((what) => t.fail(what))
    const read = pieces.flatMap((piece) => reader.push(Buffer.from(piece)))
    t.notOk(reader.midFrame)
    return read.map(({ opcode, fin, payload }) => `${opcode} ${fin} ${payload.toString('base64')}`)
  }
})

t.test('chunks are what the protocol says, byte by byte', async (t) => {
  t.same(chunk(''), Buffer.from([0x0a, 0x00]))
  t.same(chunk(Buffer.alloc(300)).subarray(0, 3), Buffer.from([0x0a, 0xac, 0x02]))
  t.same(varint(1, 3), Buffer.from([0x81, 0x80, 0x00]))
  t.same(readChunkStrictly(chunk('abc')), { payload: Buffer.from('abc') })
  t.match(readChunkStrictly(Buffer.from([0x0a, 0x80])), { fault: /inside its length/ })
  t.match(readChunkStrictly(Buffer.from([0x0a, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01])), {
    fault: /over|five bytes/,
  })
})
