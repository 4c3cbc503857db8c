import { createHash } from 'node:crypto'
import fc from 'fast-check'
import t from 'tap'
import { ProxyError } from '#src/errors.js'
import { type UpgradeAnswer, UpgradeAnswerParser, upgradeRequest } from '#src/wire/upgrade.js'
import { anyCuts, bytewise, offsets, pieces } from './cuts.js'

const KEY = 'dGhlIHNhbXBsZSBub25jZQ=='
// RFC 6455 §1.3 has this very pair.
const ACCEPT = 's3pPLMBiTxaQ9kYGzzhZRbK+xOo='
const GOOD = `HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: ${ACCEPT}\r\n\r\n`
// Frames that look like more of a head, and bytes that are no text.
const REST = Buffer.from('\r\n\r\nHTTP/1.1 401 X\r\n\r\n\x00\x82\xff\r\n\r\n', 'latin1')
const UPGRADED = 'upgraded'
const BROKEN = 'ERR_GATEWAY_UPGRADE'

const instead = (from: string | RegExp, to: string) => GOOD.replace(from, to)
const also = (...lines: string[]) => GOOD.replace('\r\n\r\n', `\r\n${lines.join('\r\n')}\r\n\r\n`)
const interim = (status: string) => `HTTP/1.1 ${status}\r\n\r\n`

const ACCEPTED: Readonly<Record<string, string>> = {
  'the plain one': GOOD,
  'no reason': instead(' Switching Protocols', ' '),
  'no reason, and no space for it': instead(' Switching Protocols', ''),
  'a reason in another language': instead('Switching Protocols', '\tProtokoll gewechs\xe4lt'),
  'names in any case': instead('Upgrade: websocket', 'uPGRADE: websocket').replace('Accept', 'ACCEPT'),
  'tokens in any case': instead('websocket', 'WebSocket').replace(
    'Connection: Upgrade',
    'Connection: UPGRADE',
  ),
  'no white space before values': GOOD.replaceAll(': ', ':'),
  'white space around values': instead('websocket', '\t websocket\t ').replace(ACCEPT, ` ${ACCEPT}\t`),
  'Upgrade among the connection’s tokens': instead(
    'Connection: Upgrade',
    'Connection:, keep-alive ,\tUpgrade,,close',
  ),
  'Connection twice': instead('Connection: Upgrade', 'Connection: keep-alive\r\nConnection: Upgrade'),
  'headers that mean nothing here': also('Date: x', 'Server:', 'X: \xe4', 'X: again', 'Content-Length: 0'),
  'the headers in another order': `${GOOD.split('\r\n')[0]}\r\nSec-WebSocket-Accept: ${ACCEPT}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n`,
  'a head of almost 16 KiB': also(`X: ${'a'.repeat(16 * 1024 - GOOD.length - 5)}`),
  'after 100': interim('100 Continue') + GOOD,
  'after 102 and 103 with headers': `HTTP/1.1 102 Processing\r\nX: y\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n${GOOD}`,
  'after an interim answer that talks of an upgrade': `HTTP/1.1 100 C\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n${GOOD}`,
  'after hundreds of interim answers': interim('102 P').repeat(700) + GOOD,
}

const REFUSED: Readonly<Record<string, readonly [string, number]>> = {
  ...Object.fromEntries(
    [200, 204, 302, 400, 401, 403, 404, 407, 415, 426, 500, 503, 599].map((status) => [
      `${status}`,
      [`HTTP/1.1 ${status} X\r\nContent-Length: 2\r\n\r\n`, status] as const,
    ]),
  ),
  'no reason': ['HTTP/1.1 401\r\n\r\n', 401],
  'a refusal of HTTP/1.0': ['HTTP/1.0 401 Unauthorized\r\nConnection: close\r\n\r\n', 401],
  'a refusal with all the headers of an upgrade': [instead('101', '403'), 403],
  'a refusal after interim answers': [`${interim('100 C')}${interim('103 E')}HTTP/1.1 401 X\r\n\r\n`, 401],
}

const MALFORMED: Readonly<Record<string, string>> = {
  'no Accept': instead(/Sec-.*?\r\n/, ''),
  'an empty Accept': instead(ACCEPT, ''),
  'Accept twice, the same': also(`Sec-WebSocket-Accept: ${ACCEPT}`),
  'Accept twice, the right one first': also('Sec-WebSocket-Accept: x'),
  'Accept twice, the right one last': instead('Sec-WebSocket', 'Sec-WebSocket-Accept: x\r\nSec-WebSocket'),
  'Accept in other letters': instead(ACCEPT, ACCEPT.toLowerCase()),
  'Accept with something behind it': instead(ACCEPT, `${ACCEPT} x`),
  'Accept with a list': instead(ACCEPT, `${ACCEPT}, ${ACCEPT}`),
  'Accept with a no-break space': instead(ACCEPT, `${ACCEPT}\xa0`),
  'Accept without its padding': instead(ACCEPT, ACCEPT.replace('=', '')),
  'Accept of another key': instead(ACCEPT, createHash('sha1').update('x').digest('base64')),
  'the key itself for Accept': instead(ACCEPT, KEY),
  'no Upgrade': instead('Upgrade: websocket\r\n', ''),
  'an empty Upgrade': instead('websocket', ''),
  'Upgrade to something else': instead('websocket', 'h2c'),
  'Upgrade with a list': instead('websocket', 'websocket, h2c'),
  'Upgrade with a version': instead('websocket', 'websocket/13'),
  'Upgrade twice': also('Upgrade: websocket'),
  'Upgrade twice, differing': also('Upgrade: h2c'),
  'Upgrade with a no-break space': instead('websocket', '\xa0websocket'),
  'no Connection': instead('Connection: Upgrade\r\n', ''),
  'Connection without the token': instead('Connection: Upgrade', 'Connection: keep-alive'),
  'Connection with a longer token': instead('Connection: Upgrade', 'Connection: Upgraded'),
  'Connection with a quoted token': instead('Connection: Upgrade', 'Connection: "Upgrade"'),
  'Connection with a parameter': instead('Connection: Upgrade', 'Connection: Upgrade;x'),
  'Connection with a no-break space': instead('Connection: Upgrade', 'Connection: \xa0Upgrade'),
  'an extension': also('Sec-WebSocket-Extensions: permessage-deflate'),
  'an extension without a name': also('Sec-WebSocket-Extensions:'),
  'a subprotocol': also('sec-websocket-protocol: x'),
  'a subprotocol without a name': also('Sec-WebSocket-Protocol: '),
  'a bare LF': instead('websocket\r\n', 'websocket\n'),
  'a bare LF behind the status': instead('Protocols\r\n', 'Protocols\n'),
  'a bare LF in a value': also('X: a\nb'),
  'a bare CR in a value': also('X: a\rb'),
  'a bare CR in the reason': instead('Switching ', 'Switching\r'),
  'CR CR LF': instead('websocket\r\n', 'websocket\r\r\n'),
  'a fold': also('X: a\r\n b'),
  'a fold by a tab': also('X: a\r\n\tb'),
  'a value in a fold': instead('Upgrade: websocket', 'Upgrade:\r\n websocket'),
  'NUL in a value': also('X: a\0b'),
  'NUL in a name': also('X\0: a'),
  'NUL in the reason': instead('Switching', '\0'),
  'a control byte in a value': also('X: \x1b[2J'),
  'DEL in a value': also('X: \x7f'),
  'a space before the colon': instead('Upgrade:', 'Upgrade :'),
  'a space in a name': also('A b: x'),
  'a name beyond ASCII': also('\xc4: x'),
  'no name': also(': x'),
  'no colon': also('xyz'),
  'HTTP/1.0': instead('HTTP/1.1', 'HTTP/1.0'),
  'HTTP/1.2': instead('HTTP/1.1', 'HTTP/1.2'),
  'HTTP/2.0': 'HTTP/2.0 401 X\r\n\r\n',
  'http/1.1': instead('HTTP', 'http'),
  'an interim answer of HTTP/1.0': `HTTP/1.0 100 C\r\n\r\n${GOOD}`,
  'two spaces before the status': instead(' 101', '  101'),
  'a tab before the status': instead(' 101', '\t101'),
  'a status of two digits': instead('101', '10'),
  'a status of four digits': instead('101', '1010'),
  'a status of 000': 'HTTP/1.1 000 X\r\n\r\n',
  'a status of 600': 'HTTP/1.1 600 X\r\n\r\n',
  'no status line': GOOD.slice(GOOD.indexOf('\r\n') + 2),
  'an empty line first': `\r\n${GOOD}`,
  'nothing but an empty line': '\r\n\r\n\r\n\r\n',
  'another protocol': 'SSH-2.0-x\r\n\r\n',
  'a refusal whose head is broken': 'HTTP/1.1 401 X\r\nno header\r\n\r\n',
  'an interim answer whose head is broken': `HTTP/1.1 100 C\r\nno header\r\n\r\n${GOOD}`,
  'an interim 101': interim('101 Switching Protocols') + GOOD,
  'a head over 16 KiB': also(`X: ${'a'.repeat(16 * 1024 - GOOD.length - 4)}`),
  'a head that does not end': `HTTP/1.1 101 X\r\n${'X: a\r\n'.repeat(20_000)}`,
  'a line that does not end': `HTTP/1.1 101 ${'a'.repeat(20_000)}`,
  'interim answers without end': interim('102 P').repeat(20_000),
}

const ALL = [
  ...Object.entries(ACCEPTED).map(([name, text]) => ({ name, text, expected: UPGRADED })),
  ...Object.entries(REFUSED).map(([name, [text, status]]) => ({ name, text, expected: `refused ${status}` })),
  ...Object.entries(MALFORMED).map(([name, text]) => ({ name, text, expected: BROKEN })),
].map(({ text, ...rest }) => ({ ...rest, bytes: Buffer.from(text, 'latin1') }))

t.test('each answer has its outcome', async (t) => {
  for (const { name, bytes, expected } of ALL) t.equal(outcome([bytes]), expected, name)
})

t.test('how an answer was cut on its way changes nothing, nor who overwrites it behind', async (t) => {
  for (const { name, bytes, expected } of ALL) {
    t.equal(outcome(bytewise(bytes.subarray(0, 40_000))), expected, `${name}: one byte at a time`)
    const wrong = offsets(bytes.length).filter(
      (at) => outcome([bytes.subarray(0, at), bytes.subarray(at)]) !== expected,
    )
    t.strictSame(wrong, [], `${name}: split`)
  }
})

t.test('an answer cut short is never accepted', async (t) => {
  for (const { name, bytes, expected } of ALL) {
    if (expected === BROKEN) continue
    const early = offsets(bytes.length - 1).filter(
      (end) => outcome([bytes.subarray(0, end)]) !== 'incomplete',
    )
    t.strictSame(early, [], name)
  }
})

t.test('the bytes behind the head come back untouched', async (t) => {
  for (const { name, bytes, expected } of ALL) {
    if (expected !== UPGRADED) continue
    const whole = Buffer.concat([bytes, REST])
    // From the last byte of the head on, all in one piece.
    for (const at of offsets(bytes.length - 1)) {
      const { answer } = push([whole.subarray(0, at), whole.subarray(at)])
      t.ok(answer && 'rest' in answer && answer.rest.equals(REST), `${name} at ${at}`)
    }
  }
  const { answer } = push(bytewise(Buffer.from(GOOD)))
  t.ok(answer && 'rest' in answer && answer.rest.length === 0, 'where there are none, none')
})

t.test('one byte changed in a good answer is seen, unless it means nothing', async (t) => {
  const good = Buffer.from(GOOD)
  // The reason; everything else has a meaning.
  const reason = GOOD.indexOf('Switching')
  const free = (at: number) => at >= reason && at < GOOD.indexOf('\r\n')
  for (const [at, byte] of good.entries()) {
    for (const other of [0, 0x0a, 0x0d, 0x20, 0x7f, byte ^ 1, byte ^ 0x80]) {
      if (other === byte) continue
      const changed = Buffer.from(good)
      changed[at] = other
      const isControl = other < 0x20 || other === 0x7f
      const found = outcome([changed])
      // White space more or less before a value.
      if (found === UPGRADED) t.ok((free(at) && !isControl) || good[at - 1] === 0x3a, `${other} at ${at}`)
    }
  }
})

t.test('whatever comes, however it is cut, only a ProxyError is thrown', async (t) => {
  const line = fc.oneof(
    fc.constantFrom(...GOOD.split('\r\n'), 'HTTP/1.1 100 C', 'HTTP/1.1 401 X', 'HTTP/1.0 200', ' fold', ''),
    fc.string({ unit: 'binary', maxLength: 40 }),
  )
  const text = fc.oneof(
    fc.uint8Array({ maxLength: 400 }).map((bytes) => Buffer.from(bytes)),
    fc.array(line, { maxLength: 12 }).map((lines) => Buffer.from(`${lines.join('\r\n')}\r\n\r\n`, 'latin1')),
    fc.nat({ max: GOOD.length }).chain((at) =>
      fc.uint8Array({ maxLength: 4 }).map((bytes) => {
        const good = Buffer.from(GOOD, 'latin1')
        return Buffer.concat([good.subarray(0, at), bytes, good.subarray(at)])
      }),
    ),
  )
  fc.assert(
    fc.property(text, anyCuts, (bytes, cuts) => {
      const found = outcome(pieces(bytes, cuts))
      return (
        found === outcome([bytes]) &&
        /^(?:upgraded|incomplete|refused [2-5]\d\d|ERR_GATEWAY_UPGRADE)$/.test(found)
      )
    }),
    { numRuns: 3000 },
  )
  t.pass('holds')
})

t.test('what cannot become an answer any more is refused before its end', async (t) => {
  for (const text of [
    'S',
    'HTTP/2',
    'http',
    '\r',
    '\n',
    'HTTP/1.1 101 X\n',
    'HTTP/1.1 101 X\r\nA: b\n',
    'HTTP/1.1 101 X\rA',
  ])
    for (const given of [[Buffer.from(text)], bytewise(Buffer.from(text))])
      t.equal(outcome(given), BROKEN, text)
  for (const text of [
    'H',
    'HTTP/1.',
    'HTTP/1.1 101 X\r',
    'HTTP/1.1 101 X\r\n',
    'HTTP/1.1 100 C\r\n\r\n',
    'HTTP/1.1 100 C\r\n\r\nHT',
  ])
    for (const given of [[Buffer.from(text)], bytewise(Buffer.from(text))])
      t.equal(outcome(given), 'incomplete', text)
  t.equal(outcome([Buffer.from(interim('100 C')), Buffer.from('X')]), BROKEN, 'behind an interim answer')
})

t.test('16 KiB are held, and no byte more', async (t) => {
  for (const start of ['HTTP/1.', 'HTTP/1.1 101 ', interim('100 C').repeat(50)]) {
    const parser = new UpgradeAnswerParser(KEY)
    const line = start.endsWith('\n') ? `${start}HTTP/1.` : start
    const bytes = Buffer.from(line.padEnd(16 * 1024, 'a'))
    t.equal(parser.push(bytes), undefined)
    t.throws(() => parser.push(Buffer.from('a')), { code: BROKEN, message: /over 16384 bytes$/ })
  }
})

t.test('white space without end takes no time', async (t) => {
  const before = performance.now()
  t.equal(outcome([Buffer.from(also(`X: a${' '.repeat(16_000)}a`, 'Connection: a'))]), UPGRADED)
  t.ok(performance.now() - before < 100)
})

t.test('an error says what is wrong, and nothing of the gateway’s words', async (t) => {
  for (const text of Object.values(MALFORMED)) {
    const { error } = push([Buffer.from(text.replaceAll('X: a', 'X: evil'), 'latin1')])
    t.match(error?.message, /^the gateway's answer to the upgrade cannot be used: [ -~]+$/)
    t.notMatch(error?.message, 'evil')
  }
})

t.test('a request is what RFC 6455 asks for, each header once', async (t) => {
  const headers = { Authorization: 'Bearer x', 'Content-Type': 'application/proto' }
  const text = upgradeRequest({ host: 'gateway.test:8443', target: '/a?b', key: KEY, headers }).toString(
    'latin1',
  )
  t.equal(
    text,
    [
      'GET /a?b HTTP/1.1',
      'Host: gateway.test:8443',
      'Connection: Upgrade',
      'Upgrade: websocket',
      'Sec-WebSocket-Version: 13',
      `Sec-WebSocket-Key: ${KEY}`,
      'Authorization: Bearer x',
      'Content-Type: application/proto',
      '\r\n',
    ].join('\r\n'),
  )
})

function outcome(given: readonly Buffer[]): string {
  const { answer, error } = push(given)
  if (error) return error.code
  if (answer === undefined) return 'incomplete'
  return 'rest' in answer ? UPGRADED : `refused ${answer.refused}`
}

/** Each piece is overwritten once it has been pushed: it was on loan. Anything but a ProxyError fails the test. */
function push(given: readonly Buffer[]): { answer?: UpgradeAnswer | undefined; error?: ProxyError } {
  const parser = new UpgradeAnswerParser(KEY)
  try {
    for (const piece of given) {
      const lent = Buffer.from(piece)
      const answer = parser.push(lent)
      lent.fill(0x21)
      if (answer !== undefined) return { answer }
    }
    return { answer: undefined }
  } catch (error) {
    if (!(error instanceof ProxyError)) throw error
    return { error }
  }
}
