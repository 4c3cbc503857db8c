// biome-ignore-all lint/suspicious/noTemplateCurlyInString: that is how the configuration writes it
import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { inspect } from 'node:util'
import t, { type Test } from 'tap'
import { ConfigError, loadConfig, parseConfig } from '#src/index.js'
import { DEFAULT_LIMITS } from '#src/limits.js'
import { temporaryFolder } from './support/gateway.js'
import { makePki } from './support/pki.js'

const ENV = {
  TOKEN: 'CANARY-token',
  OTHER_TOKEN: 'CANARY-other',
  KEY: 'CANARY-key',
  EMPTY: '',
  BROKEN: 'CANARY\r\nx: y',
}
const GOOD = `
listen: 127.0.0.1:8443
state: ./gateway-state
upstream: { allowAddresses: ["127.0.0.0/8", "::1/128"], hosts: { Origin.test: 127.0.0.1 } }
audit: { file: audit.jsonl, onError: block }
sessions:
  - { id: session-1, token: { env: TOKEN }, org: acme }
orgs:
  acme:
    default: allow
    secrets: { api-key: { env: KEY }, other: { file: secret.txt } }
    rules:
      - match: { host: API.example.com., path: "/v1/**", methods: [GET, POST] }
        set: { Authorization: "Bearer \${secret:api-key}", x-both: "\${secret:api-key} \${secret:other}" }
      - match: { host: "*.blocked.test" }
        action: deny
`

function problemsOf(text: string, folder = '/nowhere', env: Record<string, string> = ENV): string[] {
  try {
    parseConfig(text, { file: 'gateway.yaml', folder, env })
  } catch (error) {
    if (error instanceof ConfigError) return error.message.split('\n')
    throw error
  }
  return []
}

t.test('the configuration of the documentation becomes one frozen Config', (t) => {
  const folder = temporaryFolder(t)
  writeFileSync(join(folder, 'secret.txt'), 'CANARY-file\n')
  const config = parseConfig(GOOD, { folder, env: ENV })
  t.strictSame(config.listen, { host: '127.0.0.1', port: 8443 })
  t.equal(config.state, join(folder, 'gateway-state'))
  t.equal(config.audit.file, join(folder, 'audit.jsonl'))
  t.equal(config.upstream.hosts.get('origin.test'), '127.0.0.1')
  t.equal(config.limits.maxTunnels, DEFAULT_LIMITS.maxTunnels)
  t.equal(config.sessions[0]?.token.reveal(), 'CANARY-token')
  const [allow, deny] = config.orgs.get('acme')?.rules ?? []
  t.equal(allow?.host.text, 'api.example.com')
  t.strictSame(
    allow?.set.map(({ name, value }) => [name, value.reveal()]),
    [
      ['authorization', 'Bearer CANARY-key'],
      ['x-both', 'CANARY-key CANARY-file'],
    ],
  )
  t.equal(deny?.action, 'deny')
  t.ok(Object.isFrozen(config))
  t.notMatch(inspect(config, { depth: 20 }) + JSON.stringify(config), /CANARY/)
  t.strictSame(config.warnings, [])
  t.end()
})

t.test('what is left out has defaults that are safe', (t) => {
  const config = parseConfig('', { folder: '/f', env: {} })
  t.strictSame(config.listen, { host: '127.0.0.1', port: 8443 })
  t.equal(config.audit.onError, 'block')
  t.equal(config.audit.file, '/f/gateway-state/audit.jsonl')
  t.match(config.warnings[0]?.message, /no sessions/)
  const org = parseConfig('orgs: { a: {} }', { folder: '/f', env: {} }).orgs.get('a')
  t.equal(org?.default, 'deny')
  t.end()
})

t.test('every mistake is told with its line and column, and what may have been meant', (t) => {
  const cases: [name: string, text: string, problem: string][] = [
    ['unknown key', 'lisen: 1.2.3.4:5', 'gateway.yaml:1:1: unknown key "lisen" (did you mean listen?)'],
    [
      'unknown key far below',
      'orgs:\n  a:\n    rules:\n      - match: { host: a.test, methd: [GET] }',
      'gateway.yaml:4:32: unknown key "methd" (did you mean methods?)',
    ],
    [
      'unknown limit',
      'limits: { maxTunnel: 1 }',
      'gateway.yaml:1:11: unknown key "maxTunnel" (did you mean maxTunnels?)',
    ],
    [
      'nothing near',
      'orgs: { a: { zzzzzzz: 1 } }',
      'gateway.yaml:1:14: unknown key "zzzzzzz" (known here: default, secrets, rules)',
    ],
    ['wrong type', 'audit: 3', 'gateway.yaml:1:1: audit: expected object, received number'],
    [
      'wrong word',
      'audit: { onError: ignore }',
      'gateway.yaml:1:10: audit.onError: expected one of "block"|"continue"',
    ],
    [
      'missing key',
      'orgs: { a: { rules: [{ match: {} }] } }',
      'gateway.yaml:1:24: orgs.a.rules.0.match.host: expected string, received undefined',
    ],
    ['broken YAML', 'a: [', 'gateway.yaml:1:5: not valid YAML: '],
    ['a key twice', 'state: a\nstate: b', 'gateway.yaml:2:1: not valid YAML: a key stands twice'],
    ['a tag', 'state: !env X', 'gateway.yaml:1:8: not valid YAML: an unknown tag'],
    ['__proto__', 'orgs: { __proto__: { default: allow } }', 'gateway.yaml:1:9: __proto__ cannot be a key'],
    ['two documents', 'state: a\n---\nstate: b', 'gateway.yaml:2:1: not valid YAML: more than one document'],
    ['listen without port', 'listen: 127.0.0.1', 'gateway.yaml:1:1: listen: expected ADDRESS:PORT'],
    ['listen on a name', 'listen: gateway.test:1', 'gateway.yaml:1:1: listen: expected ADDRESS:PORT'],
    ['listen port', 'listen: 127.0.0.1:70000', 'gateway.yaml:1:1: listen: expected ADDRESS:PORT'],
    [
      'range',
      'upstream: { allowAddresses: [10.0.0.0/33] }',
      'gateway.yaml:1:30: upstream.allowAddresses[0]: expected an address or a range',
    ],
    [
      'range of a name',
      'upstream: { allowAddresses: [localhost] }',
      'gateway.yaml:1:30: upstream.allowAddresses[0]: expected an address',
    ],
    [
      'hosts to a name',
      'upstream: { hosts: { a.test: b.test } }',
      'gateway.yaml:1:22: upstream.hosts.a.test: expected an address',
    ],
    [
      'no such CA file',
      'upstream: { caFile: none.pem }',
      'gateway.yaml:1:13: upstream.caFile: none.pem cannot be read: ENOENT',
    ],
    [
      'unknown org',
      'orgs: { acme: {} }\nsessions: [{ id: a, token: { env: TOKEN }, org: acne }]',
      'gateway.yaml:2:44: sessions[0].org: there is no organisation "acne" (did you mean acme?)',
    ],
    [
      'session id',
      'orgs: { o: {} }\nsessions: [{ id: "a:b", token: { env: TOKEN }, org: o }]',
      'gateway.yaml:2:14: sessions[0].id: a session id is',
    ],
    [
      'session twice',
      'orgs: { o: {} }\nsessions: [{ id: a, token: { env: TOKEN }, org: o }, { id: a, token: { env: KEY }, org: o }]',
      'gateway.yaml:2:56: sessions[1].id: the session "a" stands twice',
    ],
    [
      'token twice',
      'orgs: { o: {} }\nsessions: [{ id: a, token: { env: TOKEN }, org: o }, { id: b, token: { env: TOKEN }, org: o }]',
      'gateway.yaml:2:63: sessions[1].token: the same token as session "a" (a token names one session)',
    ],
    [
      'token in the clear',
      'orgs: { o: {} }\nsessions: [{ id: a, token: CANARY, org: o }]',
      'gateway.yaml:2:21: sessions.0.token: expected object, received string',
    ],
    [
      'token with a line break',
      'orgs: { o: {} }\nsessions: [{ id: a, token: { env: BROKEN }, org: o }]',
      'gateway.yaml:2:21: sessions[0].token: the token is not 1 to 4096',
    ],
    [
      'env not set',
      'orgs: { o: { secrets: { s: { env: NONE } } } }',
      'gateway.yaml:1:30: orgs.o.secrets.s.env: the environment variable NONE is not set',
    ],
    [
      'env empty',
      'orgs: { o: { secrets: { s: { env: EMPTY } } } }',
      'gateway.yaml:1:25: orgs.o.secrets.s: the secret is empty',
    ],
    [
      'env and file',
      'orgs: { o: { secrets: { s: { env: KEY, file: f } } } }',
      'gateway.yaml:1:25: orgs.o.secrets.s: expected either env: NAME or file: PATH',
    ],
    [
      'neither',
      'orgs: { o: { secrets: { s: {} } } }',
      'gateway.yaml:1:25: orgs.o.secrets.s: expected either env: NAME or file: PATH',
    ],
    [
      'watermarks',
      'limits: { downHighBytes: 10, downLowBytes: 20 }',
      'gateway.yaml:1:30: limits.downLowBytes: is over downHighBytes',
    ],
    ['a limit of nothing', 'limits: { maxTunnels: 0 }', 'gateway.yaml:1:11: limits.maxTunnels: Too small'],
  ]
  for (const [name, text, problem] of cases) {
    t.match(problemsOf(text)[0], new RegExp(`^${problem.replace(/[.*+?^${}()|[\]\\]/g, '\\$&')}`), name)
  }
  t.end()
})

t.test('every mistake of a rule is told', (t) => {
  const rule = (match: string, rest: string) =>
    `orgs:\n  o:\n    secrets: { key: { env: KEY }, broken: { env: BROKEN } }\n    rules:\n      - match: ${match}\n        ${rest}`
  const cases: [name: string, text: string, problem: string][] = [
    [
      'a scheme in the host',
      rule('{ host: "https://a.test" }', ''),
      'match.host: expected a host name or an address',
    ],
    ['a port in the host', rule('{ host: "a.test:443" }', ''), 'match.host: expected a host name'],
    ['a star inside', rule('{ host: "api.*.test" }', ''), 'match.host: expected an exact host or *.suffix'],
    ['a star alone', rule('{ host: "*" }', ''), 'match.host: expected an exact host or *.suffix'],
    ['a star with an address', rule('{ host: "*.0.0.1" }', ''), 'match.host: expected'],
    [
      'a name that is not ASCII',
      rule('{ host: bücher.test }', ''),
      'match.host: expected a host name or an address, without scheme, port or path (write it as xn--bcher-kva.test)',
    ],
    [
      'a path without slash',
      rule('{ host: a.test, path: v1 }', ''),
      'match.path: a path pattern begins with /',
    ],
    ['a path with dots', rule('{ host: a.test, path: /a/../b }', ''), 'match.path: a dot segment'],
    [
      'a path with a query',
      rule('{ host: a.test, path: "/a?b" }', ''),
      'match.path: a path pattern has no query',
    ],
    [
      'stars within a segment',
      rule('{ host: a.test, path: "/a**" }', ''),
      'match.path: ** stands for whole segments',
    ],
    [
      'a method in lower case',
      rule('{ host: a.test, methods: [get] }', ''),
      'match.methods[0]: not a method that is forwarded (methods are upper case: GET)',
    ],
    [
      'a method with a typo',
      rule('{ host: a.test, methods: [DELTE] }', ''),
      'match.methods[0]: not a method that is forwarded (did you mean DELETE?)',
    ],
    ['CONNECT', rule('{ host: a.test, methods: [CONNECT] }', ''), 'match.methods[0]: not a method'],
    [
      'deny with headers',
      rule('{ host: a.test }', 'action: deny\n        set: { a: b }'),
      'set: a rule that denies sets no headers',
    ],
    ['a header name', rule('{ host: a.test }', 'set: { "a b": c }'), 'set.a b: not a header name'],
    [
      'a framing header',
      rule('{ host: a.test }', 'set: { Content-Length: "1" }'),
      'set.Content-Length: content-length belongs to',
    ],
    [
      'a proxy header',
      rule('{ host: a.test }', 'set: { Proxy-Authorization: x }'),
      'set.Proxy-Authorization: proxy-authorization belongs to',
    ],
    ['a header twice', rule('{ host: a.test }', 'set: { a: b, A: c }'), 'set.A: the header a stands twice'],
    [
      'an unknown secret',
      rule('{ host: a.test }', 'set: { a: "${secret:kei}" }'),
      'set.a: there is no secret "kei" in this organisation (did you mean key?)',
    ],
    [
      'another substitution',
      rule('{ host: a.test }', 'set: { a: "${env:KEY}" }'),
      'set.a: only ${secret:NAME} can stand',
    ],
    [
      'a substitution left open',
      rule('{ host: a.test }', 'set: { a: "${secret:key" }'),
      'set.a: only ${secret:NAME} can stand',
    ],
    [
      'a line break in a secret',
      rule('{ host: a.test }', 'set: { a: "${secret:broken}" }'),
      'set.a: the value holds a line break or a NUL once its secrets are in',
    ],
    [
      'a line break in the text',
      rule('{ host: a.test }', 'set: { a: "b\\r\\nc: d" }'),
      'set.a: the value holds a line break or a NUL',
    ],
    ['a NUL', rule('{ host: a.test }', 'set: { a: "b\\0" }'), 'set.a: the value holds a line break or a NUL'],
    ['not ASCII', rule('{ host: a.test }', 'set: { a: "é" }'), 'set.a: the value is not visible ASCII'],
    [
      'white space',
      rule('{ host: a.test }', 'set: { a: " b" }'),
      'set.a: the value begins or ends with white space',
    ],
    ['a port out of range', rule('{ host: a.test, port: 0 }', ''), 'orgs.o.rules.0.match.port: Too small'],
  ]
  for (const [name, text, problem] of cases) {
    const [first = ''] = problemsOf(text)
    t.match(first, /^gateway\.yaml:[567]:\d+: /, `${name}: its place`)
    t.ok(first.includes(problem), `${name}: ${first}`)
    t.notMatch(first, /CANARY/)
  }
  t.end()
})

t.test('all problems of one reading are told at once', (t) => {
  const text =
    'listen: x\norgs: { o: { secrets: { s: { env: NONE } } } }\nsessions: [{ id: "", token: { env: TOKEN }, org: p }]'
  t.equal(problemsOf(text).length, 4)
  t.equal(problemsOf('lisen: 1\nstat: 2').length, 2)
  t.end()
})

t.test('certificates and keys are checked together', async (t) => {
  const folder = temporaryFolder(t)
  const [one, two] = [await makePki(), await makePki()]
  writeFileSync(join(folder, 'cert.pem'), one.caPem)
  writeFileSync(join(folder, 'key.pem'), one.caKeyPem)
  writeFileSync(join(folder, 'other.pem'), two.caKeyPem)
  writeFileSync(join(folder, 'no.pem'), 'CANARY')
  const problem = (pair: string) => problemsOf(`tls: ${pair}`, folder).join('\n')
  t.equal(problem('{ cert: cert.pem, key: key.pem }'), '')
  t.match(problem('{ cert: cert.pem, key: other.pem }'), /tls\.key: is not the key of the certificate/)
  t.match(problem('{ cert: no.pem, key: key.pem }'), /tls\.cert: holds no certificate/)
  t.match(problem('{ cert: cert.pem, key: no.pem }'), /tls\.key: not a usable private key/)
  t.match(problem('{ cert: cert.pem, key: none.pem }'), /tls\.key: none\.pem cannot be read: ENOENT/)
  t.notMatch(problem('{ cert: no.pem, key: no.pem }'), /CANARY/)
})

t.test('a plain listener that others can reach is warned about', (t) => {
  const warnings = (listen: string) =>
    parseConfig(`listen: "${listen}"`, { folder: '/f', env: {} }).warnings.length
  t.equal(warnings('0.0.0.0:1'), 2)
  t.equal(warnings('[::1]:1'), 1, 'only that there are no sessions')
  t.equal(warnings('localhost:0'), 1)
  t.end()
})

t.test('a file is read with its own folder as the start of relative paths', (t: Test) => {
  const folder = temporaryFolder(t)
  mkdirSync(join(folder, 'etc'))
  writeFileSync(join(folder, 'etc', 'gateway.yaml'), GOOD)
  writeFileSync(join(folder, 'etc', 'secret.txt'), 'CANARY-file')
  t.equal(loadConfig(join(folder, 'etc', 'gateway.yaml'), ENV).audit.file, join(folder, 'etc', 'audit.jsonl'))
  t.throws(() => loadConfig(join(folder, 'none.yaml'), ENV), {
    name: 'ConfigError',
    message: /none\.yaml:1:1: cannot be read: ENOENT/,
  })
  t.end()
})
