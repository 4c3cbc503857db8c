import { isIP } from 'node:net'
import fc from 'fast-check'
import t from 'tap'
import { ProxyError } from '#src/errors.js'
import { parseAuthority, type RequestHead, RequestHeadParser } from '#src/wire/index.js'
import { headVectors } from '../vectors/load.js'
import { anyCuts, bytewise, offsets, pieces } from './cuts.js'

const { accepted, refused } = headVectors()

t.test('the vectors are many, and no name stands for two of them', async (t) => {
  t.ok(accepted.length + refused.length >= 150)
  const names = [...accepted, ...refused].map(({ name }) => name)
  t.strictSame(
    names.filter((name, index) => names.indexOf(name) !== index),
    [],
  )
})

t.test('a head that the grammar allows is read to the letter', async (t) => {
  for (const { name, bytes, fields, headers, rawBytes, rest } of accepted) {
    const head = parse([bytes])
    t.match(head, fields, name)
    if (headers) t.strictSame(head?.headers, headers, `${name}: headers`)
    t.equal(head?.raw.toString('latin1'), bytes.toString('latin1', 0, rawBytes), `${name}: raw`)
    t.equal(head?.rest.toString('latin1'), rest.toString('latin1'), `${name}: rest`)
  }
})

t.test('a head that the grammar does not allow is refused by its code', async (t) => {
  for (const { name, bytes, code } of refused) t.equal(outcome([bytes]), code, name)
})

t.test('how a head was cut on its way changes nothing', async (t) => {
  for (const { name, bytes } of [...accepted, ...refused]) {
    const whole = outcome([bytes])
    t.equal(outcome(bytewise(bytes)), whole, `${name}: one byte at a time`)
    const wrong = offsets(bytes.length).filter(
      (at) => outcome([bytes.subarray(0, at), bytes.subarray(at)]) !== whole,
    )
    t.strictSame(wrong, [], `${name}: split`)
  }
})

t.test('a head cut short is never accepted', async (t) => {
  for (const { name, bytes, rawBytes } of accepted) {
    const wrong = offsets(rawBytes - 1).filter((end) => outcome([bytes.subarray(0, end)]) !== 'incomplete')
    t.strictSame(wrong, [], name)
  }
  for (const { name, bytes, code } of refused) {
    const outcomes = new Set(offsets(bytes.length).map((end) => outcome([bytes.subarray(0, end)])))
    outcomes.delete('incomplete')
    t.strictSame([...outcomes], [code], name)
  }
})

t.test('a first byte that cannot start a request is refused at once', async (t) => {
  for (const { name, bytes, code } of refused) {
    const expected = code === 'ERR_CONNECT_NOT_HTTP' ? code : 'incomplete'
    t.equal(outcome([bytes.subarray(0, 1)]), expected, name)
  }
  t.match(thrownBy([Buffer.of(0x16)])?.hint, /TLS/, 'a TLS record comes with a hint')
  t.match(thrownBy([Buffer.of(0x05)])?.hint, /SOCKS 5/, 'so does SOCKS 5')
  t.match(thrownBy([Buffer.of(0x04)])?.hint, /SOCKS 4/, 'and SOCKS 4')
})

t.test('a control byte, a bare CR or a bare LF is refused before the head is complete', async (t) => {
  for (const text of [
    'CONNECT a\0',
    'CONNECT a\x1f',
    'CONNECT a\n',
    'CONNECT a\rb',
    'CONNECT a:1 HTTP/1.1\r\nb: \x7f',
  ])
    t.equal(outcome([Buffer.from(text)]), 'ERR_CONNECT_HEAD_MALFORMED', JSON.stringify(text))
})

t.test('a head over the cap is refused when the cap is reached, in whatever pieces it comes', async (t) => {
  for (const pieceBytes of [1, 7, 4096, 8191, 8192, 8193, 1024 * 1024]) {
    const parser = new RequestHeadParser()
    let pushed = 0
    const fill = () => {
      while (pushed < 2 * 1024 * 1024) {
        pushed += pieceBytes
        parser.push(Buffer.alloc(pieceBytes, 'a'))
      }
    }
    t.throws(fill, { code: 'ERR_CONNECT_HEAD_TOO_LARGE' }, `${pieceBytes} bytes at a time`)
    t.ok(pushed < 8193 + pieceBytes, `refused after ${pushed} bytes`)
  }
})

t.test('the cap is an option, and counts the empty line', async (t) => {
  const head = Buffer.from('CONNECT a:1 HTTP/1.1\r\n\r\n')
  for (let maxHeadBytes = 1; maxHeadBytes < head.length; maxHeadBytes++)
    t.throws(() => new RequestHeadParser({ maxHeadBytes }).push(head), { code: 'ERR_CONNECT_HEAD_TOO_LARGE' })
  t.match(new RequestHeadParser({ maxHeadBytes: head.length }).push(head), { host: 'a' })
})

t.test('a refusal carries the status of its answer', async (t) => {
  const statusOf = (text: string) => thrownBy([Buffer.from(text)])?.status
  t.equal(statusOf('\x16'), 400)
  t.equal(statusOf('CONNECT a HTTP/1.1\r\n\r\n'), 400)
  t.equal(statusOf('CONNECT a:1 HTTP/1.1\r\nContent-Length: 1\r\n\r\n'), 400)
  t.equal(statusOf('GET http://a/ HTTP/1.1\r\n\r\n'), 405)
  t.equal(statusOf(`CONNECT ${'a'.repeat(9000)}`), 431)
})

t.test('no refusal repeats what the client sent', async (t) => {
  for (const { name, bytes, code } of refused) {
    if (code === 'ERR_CONNECT_NOT_HTTP') continue
    const { message = '', hint = '' } = thrownBy([bytes]) ?? {}
    t.notMatch(`${message} ${hint}`, /secret|example/, name)
  }
})

t.test('parseAuthority takes what CONNECT takes and refuses what CONNECT refuses', async (t) => {
  for (const { name, bytes, kind, fields } of accepted) {
    if (kind !== 'connect') continue
    const { host, port, authority } = fields
    t.strictSame(parseAuthority(targetOf(bytes)), { host, port, authority }, name)
  }
  for (const { name, bytes, code } of refused) {
    if (code !== 'ERR_CONNECT_TARGET') continue
    t.throws(() => parseAuthority(targetOf(bytes)), { code: 'ERR_CONNECT_TARGET' }, name)
  }
  for (const text of [
    '',
    ' ',
    'a:1 ',
    ' a:1',
    'a:1\n',
    'a\n:1',
    'a:1\r\n',
    'a\0:1',
    'ü:1',
    'a:١',
    '[::1]:1\n',
  ])
    t.throws(() => parseAuthority(text), { code: 'ERR_CONNECT_TARGET' }, JSON.stringify(text))
})

t.test('a canonical target is its own canonical form', async (t) => {
  for (const { name, fields } of accepted) {
    if (fields['kind'] !== 'connect') continue
    const authority = fields['authority'] as string
    t.equal(parseAuthority(authority).authority, authority, name)
  }
  fc.assert(
    fc.property(anyAuthority, (written) => {
      const first = parseAuthority(written)
      const head = parse([Buffer.from(`CONNECT ${first.authority} HTTP/1.1\r\n\r\n`)])
      if (head?.kind !== 'connect') return false
      const { host, port, authority } = head
      return host === first.host && port === first.port && authority === first.authority
    }),
  )
})

t.test('IPv6 in any spelling comes to the one canonical form', async () => {
  fc.assert(
    fc.property(fc.ipV6(), fc.boolean(), (address, upper) => {
      const { host } = parseAuthority(`[${upper ? address.toUpperCase() : address}]:443`)
      return isIP(host) === 6 && host === host.toLowerCase() && sameIPv6(host, address)
    }),
    { numRuns: 500 },
  )
})

t.test('random heads survive, in random pieces', async () => {
  const head = fc.record({
    target: anyAuthority,
    version: fc.constantFrom('1.0', '1.1'),
    headers: fc.array(fc.tuple(anyHeaderName, anyHeaderValue), { maxLength: 20 }),
    rest: fc.uint8Array({ maxLength: 40 }),
  })
  fc.assert(
    fc.property(head, anyCuts, ({ target, version, headers, rest }, cuts) => {
      const lines = headers.map(([name, value]) => `${name}: ${value}\r\n`).join('')
      const raw = Buffer.from(`CONNECT ${target} HTTP/${version}\r\n${lines}\r\n`, 'latin1')
      const head = parse(pieces(Buffer.concat([raw, rest]), cuts))
      const read = head?.headers.map(({ name, value }) => [name, value])
      const sent = headers.map(([name, value]) => [name.toLowerCase(), value.replace(/^[ \t]+|[ \t]+$/g, '')])
      if (head === undefined) return false
      const readBack = JSON.stringify(read) === JSON.stringify(sent)
      return head.raw.equals(raw) && head.rest.equals(rest) && readBack
    }),
  )
})

t.test(
  'whatever bytes come, the parser throws nothing but its own codes, and accepts only the grammar',
  async () => {
    const corpus = fc.constantFrom(...[...accepted, ...refused].map(({ bytes }) => bytes).filter(isShort))
    const mutated = fc
      .tuple(
        corpus,
        fc.array(fc.tuple(fc.nat(), anyByte, fc.constantFrom('set', 'insert', 'delete')), { maxLength: 3 }),
      )
      .map(([bytes, edits]) =>
        edits.reduce((result, [at, byte, edit]) => edited(result, at, byte, edit), bytes),
      )
    const anyBytes = fc.oneof(
      mutated,
      fc.uint8Array({ maxLength: 100 }).map((bytes) => Buffer.from(bytes)),
    )
    fc.assert(
      fc.property(anyBytes, anyCuts, (bytes, cuts) => {
        const whole = outcome([bytes])
        if (outcome(pieces(bytes, cuts)) !== whole) throw new Error('cuts changed the outcome')
        if (whole.startsWith('ERR_CONNECT_') || whole === 'incomplete') return true
        const head = parse([bytes])
        return head !== undefined && obeysTheGrammar(head, bytes)
      }),
      { numRuns: 5000 },
    )
  },
)

// What a head is held against that got through: written anew, so that it shares no mistake with the parser.
function obeysTheGrammar(head: RequestHead, bytes: Buffer): boolean {
  const text = head.raw.toString('latin1')
  if (!Buffer.concat([head.raw, head.rest]).equals(bytes)) return false
  if (text.indexOf('\r\n\r\n') !== text.length - 4 || text.length > 8192) return false
  // biome-ignore lint/suspicious/noControlCharactersInRegex: they are what is looked for
  if (/[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]|\r(?!\n)|(?<!\r)\n|\n[ \t]/.test(text)) return false
  if (text.split('\r\n').length - 3 > 100) return false
  if (head.kind === 'origin')
    return text.startsWith(`${head.method} ${head.target} HTTP/${head.httpVersion}\r\n`)
  if (/^(?:content-length|transfer-encoding)[ \t]*:/im.test(text)) return false
  const target = /^CONNECT (\S+) HTTP\/1\.[01]\r\n/.exec(text)?.[1] ?? ''
  if (/[@%/?#\\]/.test(target)) return false
  if (!Number.isInteger(head.port) || head.port < 1 || head.port > 65535) return false
  if (!target.endsWith(`:${head.port}`)) return false
  if (isIP(head.host) === 6) return head.authority === `[${head.host}]:${head.port}` && target.startsWith('[')
  const labels = head.host.split('.')
  const named = labels.every((label) => /^[a-z0-9_-]{1,63}$/.test(label) && !/^-|-$/.test(label))
  const numeric = /^(?:\d+|0x[\da-f]*)$/.test(labels.at(-1) ?? '')
  return (
    head.authority === `${head.host}:${head.port}` &&
    head.host.length <= 253 &&
    named &&
    (!numeric || isIP(head.host) === 4)
  )
}

const tokenCharacters = "!#$%&'*+-.^_`|~0123456789abcXYZ"
const anyByte = fc.oneof(fc.nat(255), fc.constantFrom(...Buffer.from('\r\n\t \0:@%.[]0-\x7f\xff', 'latin1')))
const anyHeaderName = fc
  .string({ unit: fc.constantFrom(...tokenCharacters), minLength: 1, maxLength: 12 })
  .filter((name) => !/^(?:content-length|transfer-encoding)$/i.test(name))
const anyHeaderValue = fc.string({
  unit: fc
    .oneof(fc.integer({ min: 0x20, max: 0x7e }), fc.integer({ min: 0x80, max: 0xff }), fc.constant(9))
    .map((code) => String.fromCharCode(code)),
  maxLength: 30,
})
const anyLabel = fc.stringMatching(/^[a-zA-Z_](?:[a-zA-Z0-9_-]{0,20}[a-zA-Z0-9_])?$/)
const anyHost = fc.oneof(
  fc
    .tuple(fc.array(anyLabel, { minLength: 1, maxLength: 5 }), fc.constantFrom('', '.'))
    .map(([labels, dot]) => labels.join('.') + dot),
  fc.ipV4(),
  fc.ipV6().map((address) => `[${address}]`),
)
const anyAuthority = fc
  .tuple(anyHost, fc.integer({ min: 1, max: 65535 }))
  .map(([host, port]) => `${host}:${port}`)

function parse(pushes: readonly Uint8Array[]): RequestHead | undefined {
  const parser = new RequestHeadParser()
  let at = 0
  for (const bytes of pushes) {
    at += 1
    const head = parser.push(bytes)
    if (head) return { ...head, rest: Buffer.concat([head.rest, ...pushes.slice(at)]) }
  }
  return undefined
}

// A head as text, or its refusal's code, or `incomplete`: what two ways of feeding must agree on.
function outcome(pushes: readonly Uint8Array[]): string {
  try {
    const head = parse(pushes)
    return head
      ? JSON.stringify({ ...head, raw: head.raw.toString('hex'), rest: head.rest.toString('hex') })
      : 'incomplete'
  } catch (error) {
    if (error instanceof ProxyError) return error.code
    throw error
  }
}

function thrownBy(pushes: readonly Uint8Array[]): ProxyError | undefined {
  try {
    parse(pushes)
  } catch (error) {
    if (error instanceof ProxyError) return error
    throw error
  }
  return undefined
}

function edited(bytes: Buffer, position: number, byte: number, edit: string): Buffer {
  const at = position % (bytes.length + 1)
  const inserted = edit === 'delete' ? [] : [byte]
  return Buffer.concat([
    bytes.subarray(0, at),
    Buffer.from(inserted),
    bytes.subarray(edit === 'insert' ? at : at + 1),
  ])
}

function targetOf(bytes: Buffer): string {
  return bytes.toString('latin1').split(' ')[1] ?? ''
}

function isShort(bytes: Buffer): boolean {
  return bytes.length < 300
}

function sameIPv6(one: string, other: string): boolean {
  return groupsOf(one).join() === groupsOf(other).join()
}

// The eight groups as numbers, by hand.
function groupsOf(address: string): number[] {
  const dotted = /^(.*:)(\d+)\.(\d+)\.(\d+)\.(\d+)$/.exec(address)
  const [, before, a, b, c, d] = dotted ?? []
  const hex = (high?: string, low?: string) => (Number(high) * 256 + Number(low)).toString(16)
  const text = dotted ? `${before}${hex(a, b)}:${hex(c, d)}` : address
  const [head = '', tail] = text.split('::')
  const numbers = (part: string) =>
    part === '' ? [] : part.split(':').map((group) => Number.parseInt(group, 16))
  const [left, right] = [numbers(head), numbers(tail ?? '')]
  return tail === undefined ? left : [...left, ...Array(8 - left.length - right.length).fill(0), ...right]
}
