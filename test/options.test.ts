import { readFileSync } from 'node:fs'
import t from 'tap'
import type { ProxyError } from '#src/errors.js'
import { DEFAULT_LIMITS } from '#src/limits.js'
import {
  type GivenOptions,
  missingGuards,
  OPTION_TABLE,
  parseLogOptions,
  parseOptions,
  sessionIdOf,
} from '#src/options.js'
import { matchWhole } from './support/match-whole.js'

function failure(given: object, env: NodeJS.ProcessEnv = {}): ProxyError {
  try {
    parseOptions(given as GivenOptions, env)
  } catch (error) {
    return error as ProxyError
  }
  throw new Error(`accepted: ${JSON.stringify(given)} ${JSON.stringify(env)}`)
}

t.test('without arguments and environment every option has its default', async (t) => {
  const options = parseOptions({}, { HOME: '/home/someone' })
  matchWhole(t, options, {
    baseUrl: new URL('https://api.anthropic.com'),
    gatewayCa: undefined,
    sessionId: undefined,
    tokenFile: '/run/ccr/session_token',
    unlinkOnFailure: false,
    hardening: 'default',
    engine: 'auto',
    prewarm: 0,
    relay: { thread: 'auto' },
    caBundle: '/home/someone/.ccr/ca-bundle.crt',
    systemCa: undefined,
    port: 0,
    envProfile: 'full',
    noProxy: [],
    envOverrides: {},
    logLevel: 'warn',
    logFormat: 'text',
    limits: DEFAULT_LIMITS,
  })
  t.ok(Object.isFrozen(options))
})

t.test('an argument wins over the environment, the environment over the default', async (t) => {
  const env = { UPSTREAMPROXY_PORT: '8081', UPSTREAMPROXY_TOKEN_FILE: '/from/env' }
  t.match(parseOptions({ port: 8080 }, env), { port: 8080, tokenFile: '/from/env' })
  t.equal(parseOptions({ port: undefined }, env).port, 8081, 'undefined is as good as not given')
})

t.test('an empty variable is no variable; an empty argument is a mistake', async (t) => {
  t.equal(parseOptions({}, { UPSTREAMPROXY_PORT: '' }).port, 0)
  t.match(failure({ tokenFile: '' }), { code: 'ERR_OPTION', message: /^tokenFile: / })
})

t.test('every option can be set by its variable', async (t) => {
  const values: Record<string, string> = {
    baseUrl: 'https://gateway.test/prefix',
    gatewayCa: '/g.pem',
    allowPlainGateway: 'YES',
    sessionId: 's-1',
    tokenFile: '/token',
    unlinkOnFailure: 'on',
    hardening: 'strict',
    engine: 'node',
    prewarm: '3',
    relay: 'yes',
    caBundle: '/b.crt',
    systemCa: '/s.crt',
    port: '1234',
    envProfile: 'core',
    noProxy: 'a.test, b.test c.test',
    envOverrides: 'A=1,B=x=y,C=,D',
    logLevel: 'debug',
    logFormat: 'json',
    limits: 'maxTunnels=3,pingMs=500',
  }
  t.same(
    Object.keys(values).sort(),
    OPTION_TABLE.map(({ name }) => name).sort(),
    'the test knows all of them',
  )
  const env = Object.fromEntries(OPTION_TABLE.map(({ name, env }) => [env, values[name]]))
  matchWhole(t, parseOptions({}, env), {
    baseUrl: new URL('https://gateway.test/prefix'),
    gatewayCa: '/g.pem',
    sessionId: 's-1',
    tokenFile: '/token',
    unlinkOnFailure: true,
    hardening: 'strict',
    engine: 'node',
    prewarm: 3,
    relay: { thread: true },
    caBundle: '/b.crt',
    systemCa: '/s.crt',
    port: 1234,
    envProfile: 'core',
    noProxy: ['a.test', 'b.test', 'c.test'],
    envOverrides: { A: '1', B: 'x=y', C: '', D: null },
    logLevel: 'debug',
    logFormat: 'json',
    limits: { ...DEFAULT_LIMITS, maxTunnels: 3, pingMs: 500 },
  })
})

t.test('where the relay runs is an object in the API, and a flag elsewhere', async (t) => {
  const threadOf = (relay: unknown, env = {}) => parseOptions({ relay } as GivenOptions, env).relay.thread
  for (const relay of [{ thread: true }, true, 'on']) t.equal(threadOf(relay), true)
  for (const relay of [{ thread: false }, false, 'no']) t.equal(threadOf(relay), false)
  for (const relay of [{}, { thread: undefined }, undefined]) t.equal(threadOf(relay), 'auto')
  t.equal(threadOf({ thread: false }, { UPSTREAMPROXY_RELAY_THREAD: '1' }), false)
  t.equal(threadOf(undefined, { UPSTREAMPROXY_RELAY_THREAD: '0' }), false)
})

t.test('the base URL comes from CCR_UPSTREAM_PROXY_BASE_URL, then from ANTHROPIC_BASE_URL', async (t) => {
  const both = {
    CCR_UPSTREAM_PROXY_BASE_URL: 'https://first.test',
    ANTHROPIC_BASE_URL: 'https://second.test',
  }
  t.equal(parseOptions({}, both).baseUrl.host, 'first.test')
  t.equal(parseOptions({}, { ANTHROPIC_BASE_URL: both.ANTHROPIC_BASE_URL }).baseUrl.host, 'second.test')
  t.equal(parseOptions({ baseUrl: new URL('https://third.test') }, both).baseUrl.host, 'third.test')
})

t.test('http:// is taken for a loopback host, and for another only where it is allowed', async (t) => {
  for (const baseUrl of [
    'http://127.0.0.1:1',
    'http://127.1.2.3',
    'http://localhost:8',
    'http://[::1]:1/path',
  ])
    t.equal(parseOptions({ baseUrl }, {}).baseUrl.protocol, 'http:', baseUrl)
  for (const baseUrl of [
    'http://gateway.test',
    'http://127.0.0.1.evil.test',
    'http://localhost.test',
    'http://0.0.0.0',
  ])
    t.match(failure({ baseUrl }), { code: 'ERR_OPTION', hint: /https:/ }, baseUrl)
  t.ok(parseOptions({ baseUrl: 'http://gateway.test', allowPlainGateway: true }, {}))
})

t.test(
  'a base URL with user, query, fragment or another scheme is refused, and a password in it is not told',
  async (t) => {
    const refused = [
      'https://user@gateway.test',
      'https://user:hunter2@gateway.test',
      'https://gateway.test/?a=hunter2',
      'https://gateway.test/#hunter2',
      'https://gateway.test/?',
      'https://gateway.test/#',
      'ws://gateway.test',
      'file:///etc/passwd',
      'gateway.test',
      'https://',
    ]
    for (const baseUrl of refused) {
      const error = failure({}, { ANTHROPIC_BASE_URL: baseUrl })
      t.match(error, { code: 'ERR_OPTION', message: /^ANTHROPIC_BASE_URL: /, hint: /./ }, baseUrl)
      t.notMatch(`${error.message}${error.hint}`, 'hunter2')
    }
  },
)

t.test('an unknown option is an error that names the nearest', async (t) => {
  t.match(failure({ tokenfile: '/x' }), { code: 'ERR_OPTION_UNKNOWN', hint: 'did you mean tokenFile?' })
  t.match(failure({ basUrl: 'x' }), { hint: 'did you mean baseUrl?' })
  t.match(failure({ relay: { tread: true } }), { hint: 'did you mean thread?' })
  t.match(failure({ limits: { maxTunnel: 1 } }), {
    code: 'ERR_OPTION_UNKNOWN',
    message: 'there is no limit "maxTunnel"',
    hint: 'did you mean maxTunnels?',
  })
})

t.test('a value of the wrong kind is an error that says what was expected, and whose it is', async (t) => {
  const wrong: [object, RegExp][] = [
    [{ port: 65536 }, /^port: expected a whole number from 0 to 65535, got 65536$/],
    [{ port: -1 }, /port/],
    [{ port: 1.5 }, /port/],
    [{ port: Number.NaN }, /port/],
    [{ port: '80x' }, /port/],
    [{ gatewayCa: 7 }, /gatewayCa/],
    [{ sessionId: 7 }, /sessionId/],
    [{ hardening: 'of' }, /hardening: expected one of strict, default, off, got "of"/],
    [{ unlinkOnFailure: 'maybe' }, /unlinkOnFailure: expected true or false, got "maybe"/],
    [{ relay: 'maybe' }, /relay: expected true or false, got "maybe"/],
    [{ relay: { thread: 2 } }, /relay: thread: expected true or false, got 2/],
    [{ envProfile: 'most' }, /envProfile: expected one of core, full, got "most"/],
    [{ noProxy: [1] }, /noProxy: expected a list/],
    [{ noProxy: {} }, /noProxy/],
    [{ envOverrides: { A: 1 } }, /envOverrides: A: expected a text or null/],
    [{ envOverrides: { 'A=B': '1' } }, /envOverrides: expected a variable's name/],
    [{ envOverrides: ['=x'] }, /envOverrides/],
    [{ envOverrides: { A: 'x\0' } }, /envOverrides: A/],
    [{ limits: { maxTunnels: 0 } }, /limits: maxTunnels: expected a whole number from 1 to/],
    [{ limits: { maxTunnels: 2 ** 31 } }, /maxTunnels/],
    [{ limits: ['maxTunnels'] }, /maxTunnels/],
    [{ limits: 7 }, /limits/],
    [{ limits: { pingMs: 60_000 } }, /limits: pingMs: expected less than pongTimeoutMs \(60000\), got 60000/],
    [{ log: 'stderr' }, /log: expected a function/],
  ]
  for (const [given, message] of wrong)
    t.match(failure(given), { code: 'ERR_OPTION', message }, JSON.stringify(given))
  t.match(
    failure({}, { UPSTREAMPROXY_PORT: 'x' }),
    { message: /^UPSTREAMPROXY_PORT: / },
    'a variable is named',
  )
})

t.test('the port variable that Kubernetes sets for a service of our name is explained', async (t) => {
  t.match(failure({}, { UPSTREAMPROXY_PORT: 'tcp://10.0.0.1:443' }), {
    code: 'ERR_OPTION',
    hint: /enableServiceLinks/,
  })
})

t.test('a session id is 1 to 256 visible ASCII characters without a colon', async (t) => {
  const idOf = (sessionId: string) => sessionIdOf(parseOptions({ sessionId }, {}))
  for (const id of ['s', 'session_01AbC-~!', 'x'.repeat(256)]) t.equal(idOf(id), id)
  for (const id of ['', 'a:b', 'a b', ' a', 'a\n', 'a\tb', 'é', 'a\x7f', 'x'.repeat(257)])
    t.throws(() => idOf(id), { code: 'ERR_SESSION_ID' }, JSON.stringify(id))
  t.throws(() => sessionIdOf(parseOptions({}, {})), {
    code: 'ERR_SESSION_ID',
    hint: /CLAUDE_CODE_REMOTE_SESSION_ID/,
  })
})

t.test('the guard takes 1, true, yes and on in any case, for both variables, and nothing else', async (t) => {
  const guards = (remote?: string, enabled?: string) =>
    missingGuards({ CLAUDE_CODE_REMOTE: remote, CCR_UPSTREAM_PROXY_ENABLED: enabled })
  for (const yes of ['1', 'true', 'TRUE', 'Yes', 'oN']) t.same(guards(yes, yes), [], yes)
  for (const no of [undefined, '', '0', 'false', 'no', 'off', '2', ' 1', 'truee', 'enabled'])
    t.same(guards('1', no), ['CCR_UPSTREAM_PROXY_ENABLED'], String(no))
  t.same(guards(), ['CLAUDE_CODE_REMOTE', 'CCR_UPSTREAM_PROXY_ENABLED'])
})

t.test("the log's own settings never fail: what cannot be used means its default", async (t) => {
  t.same(parseLogOptions({}, { UPSTREAMPROXY_LOG_LEVEL: 'loud' }), { level: 'warn', format: 'text' })
  t.same(parseLogOptions({ logFormat: 'json' }, { UPSTREAMPROXY_LOG_LEVEL: 'debug' }), {
    level: 'debug',
    format: 'json',
  })
})

t.test('the table and docs/configuration.md agree, in options, limits and their defaults', async (t) => {
  const doc = readFileSync(new URL('../docs/configuration.md', import.meta.url), 'utf8')
  const cells = (line: string) =>
    line
      .split('|')
      .slice(1, -1)
      .map((cell) => cell.trim())
  const rows = doc
    .split('\n')
    .filter((line) => line.startsWith('| `'))
    .map(cells)
  const option = ({
    name,
    flag,
    env,
    fallbackEnv = [],
    defaultText,
    help,
  }: (typeof OPTION_TABLE)[number]) => [
    `\`${flag}\``,
    [env, ...fallbackEnv].map((each) => `\`${each}\``).join(', '),
    `\`${name}\``,
    defaultText,
    help,
  ]
  t.same(
    rows.filter((row) => row.length === 5),
    OPTION_TABLE.map(option),
  )
  const limits = rows.filter((row) => row.length === 3).map(([name, value]) => [name, value])
  t.same(
    limits,
    Object.entries(DEFAULT_LIMITS).map(([name, value]) => [`\`${name}\``, String(value)]),
  )
})
