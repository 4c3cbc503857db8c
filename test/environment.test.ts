import { readFileSync } from 'node:fs'
import t from 'tap'
import {
  bypassesEverything,
  carriersOf,
  childEnvironment,
  type EnvironmentSettings,
  replacedCaFiles,
  VARIABLES,
} from '#src/environment.js'
import { Token } from '#src/token.js'

const SETTINGS: EnvironmentSettings = {
  port: 4321,
  caBundlePath: '/home/x/.ccr/ca-bundle.crt',
  baseUrl: new URL('https://gateway.test:8443/prefix'),
  envProfile: 'full',
  noProxy: [],
  envOverrides: {},
}
const DIRECT =
  'localhost,127.0.0.1,127.0.0.0/8,::1,[::1],10.0.0.0/8,172.16.0.0/12,192.168.0.0/16,169.254.0.0/16,' +
  'anthropic.com,.anthropic.com,*.anthropic.com,gateway.test'

function environment(parent: Record<string, string>, settings: Partial<EnvironmentSettings> = {}) {
  return childEnvironment(parent, { ...SETTINGS, ...settings })
}

t.test('profile core is the eight variables of the seed, and no more', async (t) => {
  t.same(environment({ PATH: '/bin' }, { envProfile: 'core' }), {
    PATH: '/bin',
    HTTPS_PROXY: 'http://127.0.0.1:4321',
    https_proxy: 'http://127.0.0.1:4321',
    NO_PROXY: DIRECT,
    no_proxy: DIRECT,
    SSL_CERT_FILE: SETTINGS.caBundlePath,
    NODE_EXTRA_CA_CERTS: SETTINGS.caBundlePath,
    REQUESTS_CA_BUNDLE: SETTINGS.caBundlePath,
    CURL_CA_BUNDLE: SETTINGS.caBundlePath,
  })
})

t.test('profile full adds what more clients need, each variable with its reason', async (t) => {
  const [core, full] = [environment({}, { envProfile: 'core' }), environment({})]
  t.match(full, core)
  t.match(full, {
    NODE_USE_ENV_PROXY: '1',
    GIT_SSL_CAINFO: SETTINGS.caBundlePath,
    CARGO_HTTP_CAINFO: SETTINGS.caBundlePath,
    DENO_CERT: SETTINGS.caBundlePath,
    PIP_CERT: SETTINGS.caBundlePath,
    AWS_CA_BUNDLE: SETTINGS.caBundlePath,
    BUNDLE_SSL_CA_CERT: SETTINGS.caBundlePath,
    NIX_SSL_CERT_FILE: SETTINGS.caBundlePath,
    GRPC_DEFAULT_SSL_ROOTS_FILE_PATH: SETTINGS.caBundlePath,
    COMPOSER_CAFILE: SETTINGS.caBundlePath,
    UV_SYSTEM_CERTS: 'true',
  })
  t.same(Object.keys(full).sort(), VARIABLES.map(({ name }) => name).sort())
})

t.test('HTTP_PROXY is never set, and an inherited one is left as it was', async (t) => {
  for (const name of ['HTTP_PROXY', 'http_proxy', 'ALL_PROXY']) {
    t.notOk(name in environment({}))
    t.equal(environment({ [name]: 'http://corporate.test:3128' })[name], 'http://corporate.test:3128')
  }
})

t.test(
  "an inherited proxy and CA file give way to ours; all else of the parent's is passed on",
  async (t) => {
    const parent = {
      HTTPS_PROXY: 'http://corporate.test:3128',
      SSL_CERT_FILE: '/corp.pem',
      LANG: 'C',
      EMPTY: '',
    }
    const before = structuredClone(parent)
    const env = environment(parent)
    t.match(env, {
      HTTPS_PROXY: 'http://127.0.0.1:4321',
      https_proxy: 'http://127.0.0.1:4321',
      LANG: 'C',
      EMPTY: '',
    })
    t.equal(env['SSL_CERT_FILE'], SETTINGS.caBundlePath)
    t.same(parent, before, 'the parent is not changed')
  },
)

t.test(
  "NO_PROXY unites ours, the gateway's host and the user's own of both spellings, each once, in order",
  async (t) => {
    const parent = { NO_PROXY: ' a.test, b.test,,localhost', no_proxy: 'c.test b.test' }
    const env = environment(parent, { noProxy: ['d.test', 'a.test'] })
    t.equal(env['NO_PROXY'], `${DIRECT},a.test,b.test,c.test,d.test`)
    t.equal(env['no_proxy'], env['NO_PROXY'])
    t.equal(environment(env)['NO_PROXY'], env['NO_PROXY'], 'a nested session adds nothing')
    const v6 = environment({}, { baseUrl: new URL('https://[fd00::1]:8443') })
    t.match(v6['NO_PROXY'], /,fd00::1,\[fd00::1\]$/)
  },
)

t.test('a * in an inherited NO_PROXY is kept, and noticed', async (t) => {
  t.match(environment({ no_proxy: '*' })['NO_PROXY'], /,\*$/)
  t.ok(bypassesEverything(environment({ no_proxy: '*' })))
  t.ok(bypassesEverything({ NO_PROXY: 'a.test, *' }))
  t.notOk(bypassesEverything(environment({ NO_PROXY: '*.corp.test' })))
})

t.test('an override wins over ours; null leaves the variable as the parent has it', async (t) => {
  const envOverrides = {
    PIP_CERT: '/own.pem',
    GIT_SSL_CAINFO: null,
    AWS_CA_BUNDLE: null,
    EXTRA: '',
    HTTPS_PROXY: 'x',
  }
  const env = environment({ AWS_CA_BUNDLE: '/aws.pem' }, { envOverrides })
  t.match(env, { PIP_CERT: '/own.pem', AWS_CA_BUNDLE: '/aws.pem', EXTRA: '', HTTPS_PROXY: 'x' })
  t.notOk('GIT_SSL_CAINFO' in env)
})

t.test('the CA files that the profile replaces are named, so that their roots can be joined', async (t) => {
  const parent = { SSL_CERT_FILE: '/a', NODE_EXTRA_CA_CERTS: '', PIP_CERT: '/b', HTTPS_PROXY: 'http://x' }
  t.same(replacedCaFiles(parent, 'core'), [{ variable: 'SSL_CERT_FILE', path: '/a' }])
  t.same(replacedCaFiles(parent, 'full'), [
    { variable: 'SSL_CERT_FILE', path: '/a' },
    { variable: 'PIP_CERT', path: '/b' },
  ])
})

t.test('variables that carry the token are found, whole or inside a value', async (t) => {
  const token = new Token('canary-5f0c2b7e-0123')
  const env = { A: 'canary-5f0c2b7e-0123', B: 'Bearer canary-5f0c2b7e-0123', C: 'canary', D: '' }
  t.same(carriersOf(token, env), ['A', 'B'])
  t.same(carriersOf(new Token('1'), { CLAUDE_CODE_REMOTE: '1' }), [], 'too short to tell from ordinary text')
})

t.test('the table and docs/environment.md agree', async (t) => {
  const doc = readFileSync(new URL('../docs/environment.md', import.meta.url), 'utf8')
  const rows = doc
    .split('\n')
    .filter((line) => line.startsWith('| `'))
    .map((line) =>
      line
        .split('|')
        .slice(1, -1)
        .map((cell) => cell.trim()),
    )
  const kinds = { proxy: "the relay's URL", 'no-proxy': 'the list below', bundle: 'the bundle' }
  const expected = VARIABLES.map(({ name, value, profile, reason }) => [
    `\`${name}\``,
    typeof value === 'object' ? `\`${value.literal}\`` : kinds[value],
    profile,
    reason,
  ])
  t.same(rows, expected)
  t.match(
    doc,
    DIRECT.replace(',gateway.test', '')
      .split(',')
      .map((host) => `\`${host}\``)
      .join(' '),
  )
})
