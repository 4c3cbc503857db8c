import t from 'tap'
import { headersForClient, headersForOrigin, trailerPairs } from '#src/headers.js'
import { parseConfig } from '#src/index.js'
import { type Match, PathPattern, PathReadings } from '#src/path-pattern.js'
import { decideConnect, decideRequest, type Org } from '#src/policy.js'
import { checkRequest, hostHeader } from '#src/request-check.js'
import { Secret } from '#src/secret.js'

function orgOf(yaml: string): Org {
  const text = `orgs:\n  o:\n${yaml.replace(/^/gm, '    ')}`
  return parseConfig(text, { folder: '/none', env: { KEY: 'k' } }).orgs.get('o')!
}

function decide(org: Org, path: string, { host = 'api.test', port = 443, method = 'GET' } = {}): string {
  const decision = decideRequest(org, { host, port, method, path })
  return decision.decision === 'allow' ? `allow ${decision.rule}` : `${decision.reason} ${decision.rule}`
}

t.test('the first rule that matches decides, else the default', (t) => {
  const org = orgOf(`
default: allow
rules:
  - match: { host: api.test, path: "/admin/**" }
    action: deny
  - match: { host: api.test, path: "/v1/**", methods: [GET, POST] }
    set: { x: "1" }
  - match: { host: api.test, path: "/v1/**" }
    action: deny
  - match: { host: api.test, port: 8443 }
    set: { x: "2" }
  - match: { host: "*.api.test" }
    set: { x: "3" }
  - match: { host: 192.0.2.1 }
    action: deny`)
  t.equal(decide(org, '/admin/x'), 'denied-by-rule 1')
  t.equal(decide(org, '/v1/x'), 'allow 2')
  t.equal(decide(org, '/v1/x', { method: 'DELETE' }), 'denied-by-rule 3')
  t.equal(decide(org, '/other'), 'allow default')
  t.equal(decide(org, '/other', { port: 8443 }), 'allow 4')
  t.equal(decide(org, '/v1/x', { host: 'a.b.api.test' }), 'allow 5')
  t.equal(decide(org, '/', { host: 'xapi.test' }), 'allow default', 'a suffix begins at a dot')
  t.equal(decide(org, '/', { host: '192.0.2.1' }), 'denied-by-rule 6')
  const closed = orgOf('rules: [{ match: { host: api.test } }]')
  t.equal(decide(closed, '/'), 'allow 1')
  t.equal(decide(closed, '/', { host: 'other.test' }), 'denied-by-default default')
  t.end()
})

t.test('a CONNECT is allowed where some request through it could be', (t) => {
  const connect = (yaml: string, host = 'api.test', port = 443) => {
    const decision = decideConnect(orgOf(yaml), { host, port })
    return `${decision.decision} ${decision.rule}`
  }
  t.equal(connect('default: deny'), 'deny default')
  t.equal(connect('default: allow'), 'allow default')
  t.equal(connect('rules: [{ match: { host: api.test, path: /one } }]'), 'allow 1')
  t.equal(connect('rules: [{ match: { host: api.test } }]', 'other.test'), 'deny default')
  t.equal(connect('default: allow\nrules: [{ match: { host: api.test }, action: deny }]'), 'deny 1')
  t.equal(
    connect('default: allow\nrules: [{ match: { host: api.test, path: /x }, action: deny }]'),
    'allow default',
  )
  t.equal(connect('rules: [{ match: { host: api.test, methods: [GET] }, action: deny }]'), 'deny default')
  t.equal(connect('rules: [{ match: { host: api.test, port: 8443 } }]'), 'deny default')
  t.equal(connect('rules: [{ match: { host: api.test, port: 8443 } }]', 'api.test', 8443), 'allow 1')
  t.end()
})

t.test('a pattern matches what it says', (t) => {
  const cases: [pattern: string, path: string, match: Match][] = [
    ['/', '/', 'all'],
    ['/', '/a', 'none'],
    ['/**', '/', 'all'],
    ['/**', '/a/b/c/', 'all'],
    ['/v1/**', '/v1', 'all'],
    ['/v1/**', '/v1/', 'all'],
    ['/v1/**', '/v1/a/b', 'all'],
    ['/v1/**', '/v10', 'none'],
    ['/v1/**', '/v2/v1/a', 'none'],
    ['/v1/*', '/v1/a', 'all'],
    ['/v1/*', '/v1/a/b', 'none'],
    ['/v1/*', '/v1/', 'none'],
    ['/v1/*', '/v1', 'none'],
    ['/a/**/z', '/a/z', 'all'],
    ['/a/**/z', '/a/b/c/z', 'all'],
    ['/a/**/z', '/a/b/c', 'none'],
    ['/a/**/b/**/c', '/a/x/b/y/b/z/c', 'all'],
    ['/file-*.txt', '/file-1.txt', 'all'],
    ['/file-*.txt', '/file-.txt', 'all'],
    ['/file-*.txt', '/file-1.txt.gz', 'none'],
    ['/*a*b*', '/xaxbx', 'all'],
    ['/*a*b*', '/xbxax', 'none'],
    ['/a b', '/a%20b', 'all'],
    ['/a%20b', '/a%20b', 'all'],
    ['/%41', '/A', 'all'],
    ['/ü', '/%C3%BC', 'all'],
    ['/v1', '/%761', 'all'],
    // Readings that disagree.
    ['/v1/users', '/v1/users/', 'some'],
    ['/v1/users', '/V1/Users', 'some'],
    ['/V1', '/v1', 'some'],
    ['/v1/*', '/v1/a%2Fb', 'some'],
    ['/@scope/*', '/@scope%2fname', 'some'],
    ['/@scope%2f*', '/@scope%2fname', 'all'],
    ['/**', '/@scope%2fname', 'all'],
    ['/admin', '/admin;x=1', 'some'],
    ['/admin/x', '/admin;a/x;b', 'some'],
    ['/admin/x', '/admin%3Ba/x', 'some'],
    ['/admin/secret', '/admin%2Fsecret', 'some'],
    ['/admin/secret', '/ADMIN%2fsecret;x/', 'some'],
  ]
  for (const [pattern, path, match] of cases) {
    t.equal(new PathPattern(pattern).matches(new PathReadings(path)), match, `${pattern} on ${path}`)
  }
  t.end()
})

t.test('a path with no certain reading is refused', (t) => {
  for (const path of [
    '/a/../b',
    '/a/./b',
    '/..',
    '/.',
    '/a/..',
    '/a/%2e%2e/b',
    '/a/%2E./b',
    '/%2e',
    '/..;x=1/b',
    '/.;/b',
    '/%2e%2e;x/b',
    '/a/..%2fb',
    '/a%2f..%2fb',
    '/a%2F%2E%2E%2Fb',
    '//a',
    '/a//b',
    '/a///',
    '/%2f',
    '/%2fa',
    '/a%2f%2fb',
    '/a/%2fb',
    '/;x/b',
    '/a\\b',
    '/a%5cb',
    '/a%5Cb',
    '/a%252fb',
    '/%252e%252e',
    '/a%25%32%65',
    '/a%',
    '/a%2',
    '/a%zz',
    '/%u002e',
    '/a%00',
    '/a%0d%0a',
    '/a%7f',
    '/%c0%af',
    '/%ff',
    '/%e2%82',
  ]) {
    t.throws(() => new PathReadings(path), { name: 'PathError' }, path)
  }
  for (const path of [
    '/a',
    '/a/',
    '/a.b',
    '/..a',
    '/a..',
    '/.../b',
    '/a%2fb',
    '/a;b',
    '/100%25',
    '/a%25b',
    '/a:b',
    '/a@b',
    '/a|b',
    '/[a]',
  ]) {
    t.doesNotThrow(() => new PathReadings(path), path)
  }
  t.end()
})

t.test('no spelling of a path gets around a rule that denies, or to a secret', (t) => {
  const deny = orgOf(
    'default: allow\nrules: [{ match: { host: api.test, path: "/admin/**" }, action: deny }]',
  )
  const secret = orgOf(
    'default: allow\nrules: [{ match: { host: api.test, path: "/v1/**" }, set: { x: "1" } }]',
  )
  const spellings = [
    'admin',
    'ADMIN',
    '%61dmin',
    '%2561dmin',
    'x/../admin',
    'x/%2e%2e/admin',
    'x/..%2fadmin',
    './admin',
    '/admin',
    'admin;x',
    'admin%3bx',
    '%2fadmin',
    'x\\..\\admin',
    'x%5c..%5cadmin',
    'x/..;/admin',
    'x;/../admin',
    'x//../admin',
  ]
  for (const spelling of spellings) {
    for (const rest of ['', '/', '/secret', '%2fsecret', ';x/secret', '//secret']) {
      t.not(decide(deny, `/${spelling}${rest}`), 'allow default', `/${spelling}${rest}`)
    }
  }
  for (const path of [
    '/V1/a',
    '/v1%2fa',
    '/v1;x/a',
    '/v1/../v2',
    '/x/../v1/a',
    '//v1/a',
    '/v1/%2e%2e/v2',
    '/v1/..%2fv2',
  ]) {
    t.match(decide(secret, path), /^path-ambiguous 1$/, path)
  }
  t.equal(
    decide(secret, '/v2/%2e%2e', { host: 'free.test' }),
    'allow default',
    'where no rule looks at paths, any goes',
  )
  t.equal(decide(orgOf('rules: [{ match: { host: api.test } }]'), '/@scope%2fname//x/../y'), 'allow 1')
  t.end()
})

t.test('matching takes time in proportion, however a path is made', (t) => {
  const pattern = new PathPattern('/**/a*a*a*a*b/**/a*a*a*b/**/c')
  const path = new PathReadings(`/${'a'.repeat(200)}`.repeat(40))
  const started = performance.now()
  t.equal(pattern.matches(path), 'none')
  t.ok(performance.now() - started < 1000)
  t.end()
})

const DESTINATION = { host: 'api.test', port: 443 }
const facts = (more: object = {}, headers: string[] = ['Host', 'api.test']) => ({
  method: 'GET',
  target: '/a?b=c',
  serverName: 'api.test' as string | false | null,
  rawHeaders: headers,
  ...more,
})

t.test('a request is of the place that its CONNECT named, or refused', (t) => {
  const reasonOf = (given: ReturnType<typeof facts>, destination = DESTINATION) => {
    const checked = checkRequest(given, destination)
    return checked.ok ? 'ok' : checked.reason
  }
  const hosts: [host: string, reason: string, destination?: { host: string; port: number }][] = [
    ['api.test', 'ok'],
    ['API.TEST', 'ok'],
    ['api.test.', 'ok'],
    ['api.test:443', 'ok'],
    ['api.test:0443', 'host-mismatch'],
    ['api.test:8443', 'host-mismatch'],
    ['api.test:', 'host-mismatch'],
    ['other.test', 'host-mismatch'],
    ['api.test.other.test', 'host-mismatch'],
    ['api.test@other.test', 'host-mismatch'],
    ['api.test, other.test', 'host-mismatch'],
    ['api.test other.test', 'host-mismatch'],
    ['', 'host-mismatch'],
    ['api.test', 'host-mismatch', { host: 'api.test', port: 8443 }],
    ['api.test:8443', 'ok', { host: 'api.test', port: 8443 }],
    ['[2001:db8::1]', 'ok', { host: '2001:db8::1', port: 443 }],
    ['[2001:DB8:0::1]:8443', 'ok', { host: '2001:db8::1', port: 8443 }],
    ['2001:db8::1', 'host-mismatch', { host: '2001:db8::1', port: 443 }],
    ['192.0.2.1', 'ok', { host: '192.0.2.1', port: 443 }],
    ['0xc0.0.2.1', 'host-mismatch', { host: '192.0.2.1', port: 443 }],
  ]
  for (const [host, reason, destination] of hosts) {
    t.equal(reasonOf(facts({ serverName: null }, ['Host', host]), destination), reason, `Host: ${host}`)
  }
  t.equal(reasonOf(facts({}, [])), 'host-missing')
  t.equal(reasonOf(facts({}, ['Host', 'api.test', 'host', 'api.test'])), 'host-missing')
  t.equal(reasonOf(facts({ serverName: 'other.test' })), 'sni-mismatch')
  t.equal(reasonOf(facts({ serverName: 'API.test' })), 'ok')
  t.equal(reasonOf(facts({ serverName: false })), 'ok', 'none was sent')
  t.end()
})

t.test('targets, codings and lengths are those that can be forwarded', (t) => {
  const look = (more: object, ...headers: string[]) => {
    const checked = checkRequest(facts(more, ['Host', 'api.test', ...headers]), DESTINATION)
    return checked.ok ? `${checked.target} ${checked.body}` : checked.reason
  }
  t.equal(look({}), '/a?b=c none')
  t.equal(look({ target: 'https://api.test/x?y' }), '/x?y none')
  t.equal(look({ target: 'HTTPS://API.test:443?y' }), '/?y none')
  t.equal(look({ target: 'https://api.test' }), '/ none')
  t.equal(look({ target: 'https://other.test/x' }), 'host-mismatch')
  t.equal(look({ target: 'https://api.test@other.test/x' }), 'host-mismatch')
  for (const target of ['*', 'http://api.test/', 'a', '', '/a b', '/ü', '/a#b', 'api.test:443']) {
    t.equal(look({ target }), 'target-malformed', target)
  }
  t.equal(look({ method: 'TRACE' }), 'method-unsupported')
  t.equal(look({}, 'Upgrade', 'websocket'), 'upgrade-unsupported')
  t.equal(look({}, 'Expect', '100-continue'), '/a?b=c none')
  t.equal(look({}, 'Expect', 'more'), 'expectation-unsupported')
  t.equal(look({}, 'Transfer-Encoding', 'Chunked'), '/a?b=c chunked')
  for (const coding of ['gzip, chunked', 'xchunked', 'chunked, identity', 'identity', 'chunked;x', '']) {
    t.equal(look({}, 'Transfer-Encoding', coding), 'transfer-coding-unsupported', coding)
  }
  t.equal(
    look({}, 'Transfer-Encoding', 'chunked', 'Transfer-Encoding', 'chunked'),
    'transfer-coding-unsupported',
  )
  t.equal(look({}, 'Content-Length', '3'), '/a?b=c length')
  t.equal(look({}, 'Content-Length', '3', 'Content-Length', '3'), 'request-malformed')
  t.equal(look({}, 'Content-Length', '3', 'Transfer-Encoding', 'chunked'), 'request-malformed')
  for (const length of ['+3', '-1', '3, 3', '0x3', '', ' '])
    t.equal(look({}, 'Content-Length', length), 'request-malformed', length)
  t.equal(hostHeader({ host: '2001:db8::1', port: 443 }), '[2001:db8::1]')
  t.equal(hostHeader({ host: 'a.test', port: 8443 }), 'a.test:8443')
  t.end()
})

t.test('what belongs to a connection stays there, and an injected header stands once', (t) => {
  const set = [{ name: 'authorization', value: new Secret('configured') }]
  const sent = headersForOrigin(
    [
      'host',
      'A.test',
      'Accept',
      '*/*',
      'AUTHORIZATION',
      'mine',
      'authorization',
      'mine too',
      'Connection',
      'close, X-Hop, content-length',
      'x-hop',
      '1',
      'Keep-Alive',
      'timeout=5',
      'TE',
      'trailers',
      'Proxy-Connection',
      'keep-alive',
      'Proxy-Authorization',
      'Basic x',
      'Proxy-Foo',
      '1',
      'Transfer-Encoding',
      'chunked',
      'Content-Length',
      '3',
      'Trailer',
      'x-t',
      'Cookie',
      'a',
      'Cookie',
      'b',
    ],
    { authority: 'a.test', chunked: false, set },
  )
  t.strictSame(sent, [
    'Host',
    'a.test',
    'Accept',
    '*/*',
    'Content-Length',
    '3',
    'Trailer',
    'x-t',
    'Cookie',
    'a',
    'Cookie',
    'b',
    'authorization',
    'configured',
  ])
  t.strictSame(headersForOrigin([], { authority: 'a', chunked: true, set: [] }), [
    'Host',
    'a',
    'Transfer-Encoding',
    'chunked',
  ])
  t.strictSame(
    headersForClient([
      'Connection',
      'X-A',
      'x-a',
      '1',
      'Proxy-Status',
      'forged',
      'Proxy-Authenticate',
      'Basic',
      'Set-Cookie',
      'a',
      'Set-Cookie',
      'b',
      'Upgrade',
      'h2c',
    ]),
    ['Set-Cookie', 'a', 'Set-Cookie', 'b'],
  )
  t.strictSame(
    trailerPairs(
      [
        'x-t',
        '1',
        'Authorization',
        'mine',
        'Content-Length',
        '0',
        'Host',
        'x',
        'Transfer-Encoding',
        'chunked',
      ],
      set,
    ),
    [['x-t', '1']],
  )
  t.end()
})
