import fc from 'fast-check'
import t from 'tap'
import { type ErrorCode, ProxyError } from '#src/errors.js'
import { StatusLine } from '#src/wire/status-line.js'
import type { TunnelPhase } from '#src/wire/tunnel.js'
import { headVectors } from '../vectors/load.js'
import { anyCuts, pieces } from './cuts.js'
import { anyEvent, checkInvariants, happen } from './tunnel-invariants.js'
import {
  ACCEPTED,
  deadlines,
  downTo,
  HEAD,
  REFUSED,
  type Recorded,
  type RecordedTunnel,
  recordedTunnel,
} from './tunnel-recorder.js'

t.test('the CONNECT chunk goes first, then what came with the head, then what came after it', async (t) => {
  const { tunnel, client, gateway, fresh } = recordedTunnel()
  client(HEAD.slice(0, 10))
  t.strictSame(fresh(), [], 'nothing before the head is complete')
  client(`${HEAD.slice(10)}hello `)
  t.strictSame(fresh(), [['dial', 'example.com:443']])
  t.equal(tunnel.earlyBytes, 6)
  client('early ')
  t.strictSame(fresh(), [], 'nothing before the upgrade')
  t.equal(tunnel.earlyBytes, 12)
  tunnel.gatewayOpen()
  t.strictSame(fresh(), [
    ['sendConnect', 'example.com:443'],
    ['sendUp', 'hello '],
    ['sendUp', 'early '],
  ])
  t.equal(tunnel.earlyBytes, 0)
  client('before the answer ')
  gateway(ACCEPTED)
  client('after it')
  gateway('bytes')
  t.strictSame(fresh(), [
    ['sendUp', 'before the answer '],
    ['writeDown', ACCEPTED],
    ['sendUp', 'after it'],
    ['writeDown', 'bytes'],
  ])
  t.equal(tunnel.phase, 'open')
})

t.test('a ClientHello that came with the head goes up whole, wherever the two were cut', async (t) => {
  const sent = Buffer.from(`${HEAD}\x16\x03\x01\x00\x05hello`, 'latin1')
  const wrong: number[] = []
  for (let at = 0; at <= sent.length; at++) {
    const { tunnel, actions } = recordedTunnel()
    tunnel.clientBytes(sent.subarray(0, at))
    tunnel.clientBytes(sent.subarray(at))
    tunnel.gatewayOpen()
    const up = actions.filter(([action]) => action === 'sendUp').map(([, text]) => text)
    if (actions[1]?.[0] !== 'sendConnect' || up.join('') !== '\x16\x03\x01\x00\x05hello') wrong.push(at)
  }
  t.strictSame(wrong, [])
})

t.test('a head that is refused is answered by its code, and nothing is dialled', async (t) => {
  for (const { name, bytes, code } of headVectors().refused) {
    const { tunnel, actions } = recordedTunnel()
    tunnel.clientBytes(bytes)
    t.strictSame(actions, [['record', code], ['answer', code], ['release']], name)
    tunnel.clientBytes(bytes)
    tunnel.clientEnd()
    t.equal(actions.length, 3, `${name}: what comes after it does nothing`)
  }
})

t.test('a request in origin form is served here, once', async (t) => {
  const { client, actions } = recordedTunnel()
  client('GET /__upstreamproxy/status HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\nGET /again HTTP/1.1\r\n\r\n')
  t.strictSame(actions, [['serve', '/__upstreamproxy/status'], ['release']])
  client('GET /again HTTP/1.1\r\n\r\n')
  t.equal(actions.length, 2)
})

t.test('the gateway’s answer and all after it reach the client verbatim, in whatever pieces', async () => {
  const answer = fc.tuple(
    fc.constantFrom(
      ACCEPTED,
      REFUSED,
      'HTTP/1.0 200 OK\r\n\r\n',
      'HTTP/1.1 299\r\n\r\n',
      'HTTP/1.1 407 x\r\n\r\n',
    ),
    fc.string({ unit: 'binary-ascii', maxLength: 50 }),
  )
  fc.assert(
    fc.property(answer, anyCuts, ([head, body], cuts) => {
      const { tunnel, actions } = waiting()
      for (const bytes of pieces(Buffer.from(head + body, 'latin1'), cuts)) tunnel.gatewayBytes(bytes)
      const phase: TunnelPhase = / 2\d\d/.test(head) ? 'open' : 'refused'
      return downTo(actions) === head + body && tunnel.phase === phase
    }),
  )
})

t.test('after an answer other than 2xx nothing goes up any more', async (t) => {
  for (const status of [100, 101, 199, 300, 302, 400, 403, 407, 500, 502, 599]) {
    const { tunnel, client, gateway, pass, fresh } = waiting()
    client('before')
    gateway(`HTTP/1.1 ${status} x\r\n\r\n`)
    fresh()
    client('after')
    pass(1)
    t.strictSame(fresh(), [], `${status}`)
    gateway('body')
    tunnel.gatewayEnd()
    t.strictSame(
      fresh(),
      [['writeDown', 'body'], ['endClient'], ['release']],
      `${status}: passed on, then closed`,
    )
  }
})

t.test('a refusal is recorded once, and closed even where the gateway leaves it open', async (t) => {
  const { gateway, pass, fresh } = waiting()
  gateway(REFUSED)
  t.strictSame(fresh(), [
    ['record', 'ERR_GATEWAY_REFUSED'],
    ['writeDown', REFUSED],
  ])
  pass(deadlines.closeTimeoutMs)
  t.strictSame(fresh(), [])
  pass(1)
  t.strictSame(fresh(), [['closeGateway'], ['endClient'], ['release']])
})

t.test('an answer that is no HTTP breaks the tunnel', async (t) => {
  for (const answer of [
    'SSH-2.0',
    'HTTP/2 200',
    'HTTP/1.1 2x0',
    'HTTP/1.1 600',
    'HTTP/1.2 200',
    'http/1.1 200',
  ]) {
    const { gateway, fresh } = waiting()
    gateway(answer)
    const ends = fresh().filter(([action]) => action !== 'writeDown')
    t.strictSame(ends, broken('ERR_GATEWAY_PROTOCOL'), answer)
  }
})

t.test('ends of a tunnel: the table of what the other side sees', async (t) => {
  const lost = new ProxyError('ERR_GATEWAY_LOST', 'lost')
  const closed = new ProxyError('ERR_GATEWAY_CLOSED', 'closed with 1011')
  const rows: [string, () => RecordedTunnel, (r: RecordedTunnel) => void, Recorded[]][] = [
    ['a clean end of the gateway: FIN', open, (r) => r.tunnel.gatewayEnd(), [['endClient'], ['release']]],
    ['a lost connection: RST', open, (r) => r.tunnel.gatewayFailed(lost), broken('ERR_GATEWAY_LOST')],
    ['another close code: RST', open, (r) => r.tunnel.gatewayFailed(closed), broken('ERR_GATEWAY_CLOSED')],
    [
      'gone after the upgrade, before the first byte: 502',
      waiting,
      (r) => r.tunnel.gatewayEnd(),
      answered('ERR_GATEWAY_CLOSED_EARLY'),
    ],
    [
      'broken after the upgrade, before the first byte: our own answer',
      waiting,
      (r) => r.tunnel.gatewayFailed(closed),
      answered('ERR_GATEWAY_CLOSED'),
    ],
    [
      'the upgrade fails: our own answer',
      dialing,
      (r) => r.tunnel.gatewayFailed(lost),
      answered('ERR_GATEWAY_LOST'),
    ],
    [
      'a clean end inside the status line: RST',
      answering,
      (r) => r.tunnel.gatewayEnd(),
      broken('ERR_GATEWAY_CLOSED'),
    ],
    [
      'lost inside the status line: RST',
      answering,
      (r) => r.tunnel.gatewayFailed(lost),
      broken('ERR_GATEWAY_LOST'),
    ],
    ['the client’s FIN: Close', open, (r) => r.tunnel.clientEnd(), [['closeGateway']]],
    ['the client’s FIN before the answer: Close', waiting, (r) => r.tunnel.clientEnd(), [['closeGateway']]],
    ['the client’s FIN before the upgrade: it waits', dialing, (r) => r.tunnel.clientEnd(), []],
    [
      'the client’s RST: no Close',
      open,
      (r) => r.tunnel.clientBroken(),
      [['record', 'ERR_CLIENT_RESET'], ['abortGateway'], ['resetClient'], ['release']],
    ],
    [
      'the client’s RST before the upgrade',
      dialing,
      (r) => r.tunnel.clientBroken(),
      [['record', 'ERR_CLIENT_RESET'], ['abortGateway'], ['resetClient'], ['release']],
    ],
    [
      'the client’s RST before its head',
      recordedTunnel,
      (r) => r.tunnel.clientBroken(),
      [['resetClient'], ['release']],
    ],
    [
      'the client’s FIN before its head',
      recordedTunnel,
      (r) => r.tunnel.clientEnd(),
      [['endClient'], ['release']],
    ],
    ['shutdown of an open tunnel: RST', open, (r) => r.tunnel.shutdown(), broken('ERR_RELAY_CLOSING')],
    ['shutdown before the answer: 503', waiting, (r) => r.tunnel.shutdown(), answered('ERR_RELAY_CLOSING')],
    ['shutdown before the upgrade: 503', dialing, (r) => r.tunnel.shutdown(), answered('ERR_RELAY_CLOSING')],
    [
      'shutdown of a silent client: FIN',
      recordedTunnel,
      (r) => r.tunnel.shutdown(),
      [['endClient'], ['release']],
    ],
  ]
  for (const [name, start, event, expected] of rows) {
    const recorded = start()
    recorded.fresh()
    event(recorded)
    t.strictSame(recorded.fresh(), expected, name)
  }
})

t.test('a client that ends inside its head is told so', async (t) => {
  const { tunnel, client, actions } = recordedTunnel()
  client('CONNECT exam')
  tunnel.clientEnd()
  const code = 'ERR_CONNECT_HEAD_MALFORMED'
  t.strictSame(actions, [['record', code], ['answer', code], ['release']])
})

t.test('a client that ends before the upgrade has all its bytes sent, then the Close', async (t) => {
  const { tunnel, client, fresh } = dialing()
  client('all of it')
  tunnel.clientEnd()
  fresh()
  tunnel.gatewayOpen()
  t.strictSame(fresh(), [['sendConnect', 'example.com:443'], ['sendUp', 'all of it'], ['closeGateway']])
})

t.test('after the client’s FIN bytes still come down, and none go up', async (t) => {
  const { tunnel, client, gateway, pass, fresh } = open()
  tunnel.clientEnd()
  fresh()
  client('more')
  gateway('the last bytes')
  pass(deadlines.closeTimeoutMs)
  t.strictSame(fresh(), [['writeDown', 'the last bytes']])
  tunnel.gatewayEnd()
  t.strictSame(fresh(), [['endClient'], ['release']])
})

t.test('a gateway that does not finish after a Close is cut off, but not while anything moves', async (t) => {
  const { tunnel, gateway, pass, fresh } = open()
  pass(1, { unsentBytes: 3_000_000 })
  tunnel.clientEnd()
  fresh()
  for (let left = 2_900_000; left > 0; left -= 100_000) pass(deadlines.closeTimeoutMs, { unsentBytes: left })
  t.strictSame(fresh(), [], 'what was sent before the Close still goes up')
  for (let i = 0; i < 10; i++) {
    pass(deadlines.closeTimeoutMs)
    gateway('x')
  }
  t.equal(fresh().length, 10, 'bytes still come down')
  pass(deadlines.closeTimeoutMs, { paused: true })
  pass(deadlines.closeTimeoutMs)
  t.strictSame(fresh(), [], 'the client is slow, not the gateway')
  pass(1)
  t.strictSame(fresh(), broken('ERR_GATEWAY_TIMEOUT'))
})

t.test('a head that is not complete in time is answered 408', async (t) => {
  const { client, pass, actions } = recordedTunnel()
  pass(deadlines.headTimeoutMs)
  client('CONNECT')
  t.strictSame(actions, [], 'more bytes do not move the deadline')
  pass(1)
  const code = 'ERR_CONNECT_HEAD_TIMEOUT'
  t.strictSame(actions, [['record', code], ['answer', code], ['release']])
})

t.test('no upgrade, or no first byte after it, in time is answered 504', async (t) => {
  for (const upgradeAfterMs of [0, 10_000, 29_999, undefined]) {
    const { tunnel, pass, actions } = dialing()
    if (upgradeAfterMs !== undefined) {
      pass(upgradeAfterMs)
      tunnel.gatewayOpen()
    }
    pass(deadlines.gatewayTimeoutMs - (upgradeAfterMs ?? 0))
    t.notOk(ended(actions), 'not before its time')
    pass(1)
    t.strictSame(ended(actions), 'ERR_GATEWAY_TIMEOUT', `upgrade after ${upgradeAfterMs ?? 'never'}`)
  }
  const { pass, actions } = open()
  pass(deadlines.gatewayTimeoutMs + 1)
  t.notOk(ended(actions), 'the first byte ends that deadline')
})

t.test(
  'a keepalive goes up after 30 s without anything else, in an open tunnel and before its answer',
  async (t) => {
    for (const start of [open, () => waiting({ gatewayTimeoutMs: 1e9 })]) {
      const { tunnel, client, pass, fresh } = start()
      const keepalives = () => fresh().filter(([action]) => action === 'sendKeepalive').length
      tunnel.gatewayPong()
      pass(deadlines.keepaliveMs - 1)
      t.equal(keepalives(), 0)
      pass(1)
      t.equal(keepalives(), 1)
      tunnel.gatewayPong()
      pass(deadlines.keepaliveMs - 1)
      client('x')
      pass(1)
      t.equal(keepalives(), 0, 'what goes up keeps the connection as well')
      tunnel.gatewayPong()
      pass(deadlines.keepaliveMs)
      t.equal(keepalives(), 1)
    }
  },
)

t.test('no keepalive and no ping before the upgrade, after a refusal, after a Close', async (t) => {
  const starts: [string, () => RecordedTunnel][] = [
    ['dialing', () => dialing({ gatewayTimeoutMs: 1e9 })],
    ['refused', () => refusedTunnel({ closeTimeoutMs: 1e9 })],
    ['closing', () => closing({ closeTimeoutMs: 1e9 })],
  ]
  for (const [phase, start] of starts) {
    const { tunnel, pass, fresh } = start()
    t.equal(tunnel.phase, phase)
    fresh()
    for (let i = 0; i < 20; i++) pass(30_000)
    t.strictSame(fresh(), [], phase)
  }
})

t.test('a gateway is dead when it answers no ping for 60 s, however much it sends', async (t) => {
  const { tunnel, gateway, pass, fresh } = open()
  for (let i = 0; i < 10; i++) {
    pass(deadlines.pongTimeoutMs)
    tunnel.gatewayPong()
  }
  t.notOk(ended(fresh()), 'pongs keep it alive without data')
  pass(deadlines.pongTimeoutMs)
  gateway('data is no pong')
  t.notOk(ended(fresh()))
  pass(1)
  t.strictSame(fresh(), broken('ERR_GATEWAY_DEAD'))
})

t.test('while reading is paused for a slow client, nothing counts against the gateway', async (t) => {
  const { tunnel, pass, actions } = open()
  for (let i = 0; i < 100; i++) pass(deadlines.pongTimeoutMs, { paused: true })
  t.notOk(ended(actions))
  pass(deadlines.pongTimeoutMs)
  t.notOk(ended(actions), 'after it the gateway has its whole time again')
  tunnel.gatewayPong()
  pass(deadlines.pongTimeoutMs)
  t.notOk(ended(actions))
  pass(1)
  t.equal(ended(actions), 'ERR_GATEWAY_DEAD')
})

t.test('pings go out every 20 s', async (t) => {
  const { tunnel, pass, actions } = open()
  for (let second = 0; second < 100; second++) {
    pass(1000)
    tunnel.gatewayPong()
  }
  t.equal(actions.filter(([action]) => action === 'sendPing').length, 5)
})

t.test('an empty chunk is nothing: no answer, no first byte', async (t) => {
  const { tunnel, gateway, fresh } = waiting()
  gateway('')
  t.strictSame(fresh(), [])
  tunnel.gatewayEnd()
  t.strictSame(fresh(), answered('ERR_GATEWAY_CLOSED_EARLY'))
})

t.test('whatever happens in whatever order, the invariants hold', async () => {
  fc.assert(
    fc.property(fc.array(anyEvent, { maxLength: 40 }), (events) => {
      const recorded = recordedTunnel()
      const sent = { client: '', gateway: '' }
      for (const event of [...events, 'shutdown' as const]) {
        const before = recorded.actions.length
        const phase = recorded.tunnel.phase
        happen(recorded, event, sent)
        if (phase === 'over' && recorded.actions.length > before) throw new Error('an action after the end')
      }
      checkInvariants(recorded, sent)
    }),
    { numRuns: 5000 },
  )
})

t.test('a status line is read in whatever pieces, and its status with it', async (t) => {
  for (const [text, status] of [
    ['HTTP/1.1 200 OK\r\n', 200],
    ['HTTP/1.0 599', 599],
    ['HTTP/1.1 100\r\n', 100],
  ] as const) {
    const line = new StatusLine()
    for (const [at, character] of [...text].entries()) {
      t.equal(line.complete, at >= 12)
      line.push(Buffer.from(character))
    }
    t.match(line, { complete: true, malformed: false, status }, text)
  }
  for (const text of [
    'H\0',
    'HTTP/2',
    'HTTP/1.1  ',
    'HTTP/1.1 099',
    'HTTP/1.1 20\r',
    'HTTP/1.1\t200',
    '\r\n',
  ]) {
    const line = new StatusLine()
    line.push(Buffer.from(text))
    t.match(line, { complete: true, malformed: true }, JSON.stringify(text))
  }
})

function dialing(overrides = {}): RecordedTunnel {
  const recorded = recordedTunnel(overrides)
  recorded.client(HEAD)
  recorded.fresh()
  return recorded
}

function waiting(overrides = {}): RecordedTunnel {
  const recorded = dialing(overrides)
  recorded.tunnel.gatewayOpen()
  recorded.fresh()
  return recorded
}

function answering(): RecordedTunnel {
  const recorded = waiting()
  recorded.gateway('HTTP/1.1 2')
  return recorded
}

function open(overrides = {}): RecordedTunnel {
  const recorded = waiting(overrides)
  recorded.gateway(ACCEPTED)
  recorded.fresh()
  return recorded
}

function refusedTunnel(overrides: object): RecordedTunnel {
  const recorded = waiting(overrides)
  recorded.gateway(REFUSED)
  return recorded
}

function closing(overrides: object): RecordedTunnel {
  const recorded = open(overrides)
  recorded.tunnel.clientEnd()
  return recorded
}

function broken(code: ErrorCode): Recorded[] {
  return [['record', code], ['abortGateway'], ['resetClient'], ['release']]
}

function answered(code: ErrorCode): Recorded[] {
  return [['record', code], ['abortGateway'], ['answer', code], ['release']]
}

// The code that ended the tunnel, if one did.
function ended(actions: readonly Recorded[]): string | undefined {
  if (!actions.some(([action]) => action === 'release')) return undefined
  return actions.find(([action]) => action === 'record')?.[1]
}
