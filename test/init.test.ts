import { type SpawnOptions, spawn } from 'node:child_process'
import { X509Certificate } from 'node:crypto'
import { once } from 'node:events'
import { existsSync, mkdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { connect, createServer, type Server, type Socket } from 'node:net'
import { join } from 'node:path'
import { text } from 'node:stream/consumers'
import { fileURLToPath } from 'node:url'
import { inspect } from 'node:util'
import t, { type Test } from 'tap'
import { VARIABLES } from '#src/environment.js'
import { type DisabledReason, type GivenOptions, type InitResult, initUpstreamProxy } from '#src/index.js'
import { pemBlocks } from '#src/pem.js'
import { type CaEndpoint, caEndpoint } from './support/ca-endpoint.js'
import { makeCa, makeLeaf } from './support/certificates.js'
import { eventually, within } from './support/deadline.js'
import type { HostProgram, HostReport } from './support/init-program.js'
import { matchWhole } from './support/match-whole.js'

const LINUX = process.platform === 'linux' ? {} : { skip: 'of Linux' }
const CANARY = 'canary-6f1d0f3a9b'
const HOUR_MS = 60 * 60 * 1000
const GATEWAY_CA = await makeCa({ name: 'gateway ca' })
const SYSTEM_CA = await makeCa({ name: 'system ca' })
const CORPORATE_CA = await makeCa({ name: 'corporate ca' })
const LEAF = await makeLeaf(GATEWAY_CA)

const ENABLED = {
  CLAUDE_CODE_REMOTE: '1',
  CCR_UPSTREAM_PROXY_ENABLED: 'true',
  CLAUDE_CODE_REMOTE_SESSION_ID: 'session-1',
}

setEnvironment(ENABLED)

/** A container as init finds it. */
interface Sandbox {
  readonly folder: string
  readonly tokenFile: string
  readonly given: GivenOptions
  readonly endpoint: CaEndpoint
}

interface Attempt {
  readonly result: InitResult
  readonly lines: readonly string[]
}

t.test('with all in place: a relay, its bundle, its environment, and no token file any more', async (t) => {
  const { folder, tokenFile, given, endpoint } = await sandbox(t)
  writeFileSync(join(folder, 'corporate.pem'), CORPORATE_CA.certPem)
  setEnvironment({
    ...ENABLED,
    SSL_CERT_FILE: join(folder, 'corporate.pem'),
    HTTP_PROXY: 'http://corporate.test:3128',
  })
  t.teardown(() => setEnvironment(ENABLED))
  const { result, lines } = await attempt(t, given)
  if (!result.enabled) throw new Error(result.reason)
  t.same(lines, [])
  t.equal(endpoint.requests.length, 1)
  t.notOk(existsSync(tokenFile))
  t.equal(result.caBundlePath, given.caBundle)
  const names = pemBlocks(readFileSync(result.caBundlePath, 'utf8')).map(
    ({ text }) => new X509Certificate(text).subject,
  )
  t.same(names, ['CN=system ca', 'CN=corporate ca', 'CN=gateway ca'])
  t.match(result.env, {
    ...ENABLED,
    PATH: process.env['PATH'],
    HTTPS_PROXY: `http://127.0.0.1:${result.port}`,
    SSL_CERT_FILE: result.caBundlePath,
    HTTP_PROXY: 'http://corporate.test:3128',
  })
  t.match(result.status(), { name: 'upstreamproxy', port: result.port, tunnels: { open: 0, total: 0 } })
  t.ok(await isOpen(result.port))
  await result.close()
  t.notOk(await isOpen(result.port))
})

t.test(
  'a gateway with a private certificate is believed by gatewayCa, and the token goes nowhere before',
  async (t) => {
    const { folder, given } = await sandbox(t, GATEWAY_CA.certPem, { tls: true })
    const gatewayCa = join(folder, 'gateway.pem')
    writeFileSync(gatewayCa, GATEWAY_CA.certPem)
    const { result, lines } = await attempt(t, { ...given, gatewayCa })
    t.match(result, { enabled: true })
    t.same(lines, [])
  },
)

t.test('not both flags: nothing is read, opened or said', async (t) => {
  const { given, tokenFile, endpoint } = await sandbox(t)
  t.teardown(() => setEnvironment(ENABLED))
  for (const missing of ['CLAUDE_CODE_REMOTE', 'CCR_UPSTREAM_PROXY_ENABLED']) {
    setEnvironment({ ...ENABLED, [missing]: 'no' })
    matchWhole(t, (await harmless(t, given, 'not-enabled')).lines, [])
    const mistaken = { ...given, port: -1, sessionId: ':' }
    matchWhole(
      t,
      (await harmless(t, mistaken, 'not-enabled')).lines,
      [],
      'a wrong option is not its business',
    )
    const { lines } = await harmless(t, { ...given, logLevel: 'debug' }, 'not-enabled')
    matchWhole(t, lines, [new RegExp(`debug: not-enabled missing=${missing}`)])
  }
  t.equal(endpoint.requests.length, 0)
  t.ok(existsSync(tokenFile))
})

t.test('invariant 1: nothing that goes wrong in init reaches the host program', async (t) => {
  const breaking = (
    title: string,
    reason: DisabledReason,
    arrange: (sandbox: Sandbox, t: Tap) => GivenOptions | undefined | Promise<GivenOptions | undefined>,
    answer?: Parameters<typeof sandbox>[1],
    options?: Parameters<typeof sandbox>[2],
  ) =>
    t.test(title, async (t) => {
      const made = await sandbox(t, answer, options)
      t.teardown(() => setEnvironment(ENABLED))
      const given = { ...made.given, ...(await arrange(made, t)) }
      const tokenBefore = readOrNothing(made.tokenFile)
      const { lines } = await harmless(t, given, reason)
      t.equal(lines.length, 1, 'one line')
      t.match(lines[0], new RegExp(`^upstreamproxy warn: disabled code=${reason} message=`))
      t.equal(readOrNothing(made.tokenFile), tokenBefore, 'the token file stays')
    })
  const token =
    (content: string) =>
    ({ tokenFile }: Sandbox) => {
      writeFileSync(tokenFile, content)
      return undefined
    }
  const nothing = () => undefined

  await breaking('step 1: no session id', 'ERR_SESSION_ID', () => {
    setEnvironment({ ...ENABLED, CLAUDE_CODE_REMOTE_SESSION_ID: undefined })
    return undefined
  })
  await breaking('step 1: a session id with a colon', 'ERR_SESSION_ID', () => ({ sessionId: 'a:b' }))
  await breaking('step 1: a variable with a value that cannot be used', 'ERR_OPTION', () => {
    setEnvironment({ ...ENABLED, UPSTREAMPROXY_ENV_PROFILE: 'everything' })
    return undefined
  })
  await breaking(
    'step 1: an option that does not exist',
    'ERR_OPTION_UNKNOWN',
    () => ({ prot: 1 }) as GivenOptions,
  )
  await breaking('step 1: an argument that throws when it is looked at', 'ERR_INTERNAL', () => ({
    envOverrides: new Proxy({}, { ownKeys: () => fail('thrown by the host') }),
  }))

  await breaking('step 3: no token file', 'ERR_TOKEN_MISSING', ({ tokenFile }) => {
    rmSync(tokenFile)
    return undefined
  })
  await breaking('step 3: an empty token file', 'ERR_TOKEN_EMPTY', token('\n'))
  await breaking('step 3: a token of two lines', 'ERR_TOKEN_MALFORMED', token(`${CANARY}\n${CANARY}\n`))
  await breaking('step 3: a token of 5000 bytes', 'ERR_TOKEN_TOO_LARGE', token(CANARY.repeat(300)))
  await breaking('step 3: a folder in the place of the token', 'ERR_TOKEN_NOT_A_FILE', ({ folder }) => ({
    tokenFile: folder,
  }))
  await breaking('step 3: a token file that cannot be read', 'ERR_TOKEN_UNREADABLE', ({ folder }) => {
    symlinkSync('loop', join(folder, 'loop'))
    return { tokenFile: join(folder, 'loop') }
  })

  await breaking('step 4: a system bundle without a certificate', 'ERR_SYSTEM_CA', ({ tokenFile }) => ({
    systemCa: tokenFile,
  }))
  await breaking(
    'step 4: a --gateway-ca that is not there',
    'ERR_GATEWAY_CA',
    ({ folder }) => ({ gatewayCa: join(folder, 'not-there') }),
    undefined,
    { tls: true },
  )
  await breaking(
    'step 4: a gateway with a certificate that nothing vouches for',
    'ERR_CA_FETCH',
    nothing,
    undefined,
    {
      tls: true,
    },
  )
  await breaking('step 4: nobody listens at the base URL', 'ERR_CA_FETCH', async () => {
    const server = await listening(createServer())
    const { port } = server.address() as { port: number }
    await new Promise((resolve) => server.close(resolve))
    return { baseUrl: `http://127.0.0.1:${port}` }
  })
  await breaking('step 4: an endpoint that hangs', 'ERR_CA_FETCH', nothing, () => undefined)
  await breaking('step 4: an endpoint that redirects', 'ERR_CA_FETCH', nothing, (_request, response) => {
    response.writeHead(302, { location: '/elsewhere' }).end()
  })
  await breaking(
    'step 4: an endpoint that sends too much',
    'ERR_CA_TOO_LARGE',
    nothing,
    'x'.repeat(1024 * 1024 + 1),
  )
  await breaking('step 4: an endpoint that sends a leaf', 'ERR_CA_INVALID', nothing, LEAF.certPem)
  await breaking('step 4: an endpoint that sends garbage', 'ERR_CA_INVALID', nothing, 'garbage')
  const expired = await makeCa({
    name: 'x',
    notBefore: new Date(0),
    notAfter: new Date(Date.now() - HOUR_MS),
  })
  await breaking('step 4: an endpoint that sends an expired CA', 'ERR_CA_INVALID', nothing, expired.certPem)
  await breaking('step 4: no place for the bundle', 'ERR_CA_WRITE', ({ tokenFile }) => {
    setEnvironment({ ...ENABLED, TMPDIR: tokenFile })
    return { caBundle: join(tokenFile, 'ca-bundle.crt') }
  })

  const takePort = async (t: Tap, port = 0) => {
    const server = await listening(createServer(), port)
    t.teardown(() => server.close())
    return (server.address() as { port: number }).port
  }
  await breaking('step 5: a port that is taken', 'ERR_LISTEN', async (_sandbox, t) => ({
    port: await takePort(t),
  }))
  const taker = createServer()
  const port = await freePort()
  await breaking(
    'between steps 4 and 5: the port is taken while the CA comes',
    'ERR_LISTEN',
    (_sandbox, t) => {
      t.teardown(() => taker.close())
      return { port }
    },
    (_request, response) => {
      taker.unref().listen(port, '127.0.0.1', () => response.end(GATEWAY_CA.certPem))
    },
  )
})

t.test('invariant 1: what breaks after the relay listens closes it again', async (t) => {
  const { given, tokenFile } = await sandbox(t)
  const port = await freePort()
  const { split } = String.prototype
  t.teardown(() => {
    String.prototype.split = split
  })
  const lines: string[] = []
  const result = await initUpstreamProxy({
    ...given,
    port,
    logLevel: 'info',
    log(line) {
      lines.push(line)
      String.prototype.split = line.includes('info: listening') ? () => fail('broken by the host') : split
    },
  })
  t.match(result, { enabled: false, reason: 'ERR_INTERNAL' })
  matchWhole(t, lines, [/info: listening/, /warn: disabled code=ERR_INTERNAL message="broken by the host"/])
  t.notOk(await isOpen(port))
  t.equal(readFileSync(tokenFile, 'utf8'), `${CANARY}\n`)
})

t.test('a temporary folder that was made for the bundle goes when init fails', async (t) => {
  const { folder, tokenFile, given } = await sandbox(t)
  const TMPDIR = join(folder, 'tmp')
  mkdirSync(TMPDIR)
  setEnvironment({ ...ENABLED, TMPDIR })
  t.teardown(() => setEnvironment(ENABLED))
  const caBundle = join(tokenFile, 'ca-bundle.crt')
  const taken = await listening(createServer())
  t.teardown(() => taken.close())
  const { port } = taken.address() as { port: number }
  const failed = await attempt(t, { ...given, caBundle, port })
  t.match(failed.result, { reason: 'ERR_LISTEN' })
  matchWhole(t, failed.lines, [/warn: ca-bundle-elsewhere/, /warn: disabled code=ERR_LISTEN/])
  t.notOk(existsSync(join(TMPDIR, 'x')) || existsSync(failed.lines[0]?.match(/path=(\S+)/)?.[1] ?? TMPDIR))

  const { result } = await attempt(t, { ...given, caBundle })
  if (!result.enabled) throw new Error(result.reason)
  t.ok(result.caBundlePath.startsWith(TMPDIR))
  t.equal(result.env['SSL_CERT_FILE'], result.caBundlePath)
})

t.test('a log that throws, and arguments that are none, break nothing', async (t) => {
  const { given } = await sandbox(t)
  const log = () => fail('thrown by the host')
  const result = await initUpstreamProxy({ ...given, logLevel: 'debug', log })
  t.match(result, { enabled: true })
  if (result.enabled) await result.close()
  const written = t.capture(process.stderr, 'write')
  const text = 'port=1' as unknown as GivenOptions
  t.match(await initUpstreamProxy(text), { enabled: false, reason: 'ERR_OPTION' })
  t.equal(written().length, 1, 'one line on standard error')
  setEnvironment({})
  t.teardown(() => setEnvironment(ENABLED))
  for (const given of [null as unknown as GivenOptions, text])
    t.match(await initUpstreamProxy(given), { reason: 'not-enabled' })
  t.equal(written().length, 0)
})

t.test('invariant 2: the token file is unlinked only after the relay listens', async (t) => {
  const there: Record<string, boolean> = {}
  const { tokenFile, given } = await sandbox(t, (_request, response) => {
    there['while the CA comes'] = existsSync(tokenFile)
    response.end(GATEWAY_CA.certPem)
  })
  const log = (line: string) => {
    if (line.includes('listening')) there['when the relay listens'] = existsSync(tokenFile)
  }
  const result = await initUpstreamProxy({ ...given, logLevel: 'info', log })
  there['at the end'] = existsSync(tokenFile)
  t.same(there, { 'while the CA comes': true, 'when the relay listens': true, 'at the end': false })
  if (result.enabled) await result.close()
})

t.test('invariant 2: where init fails the token file stays, but with unlinkOnFailure', async (t) => {
  for (const unlinkOnFailure of [false, true]) {
    const { tokenFile, given } = await sandbox(t, 'garbage')
    const { lines } = await harmless(t, { ...given, unlinkOnFailure }, 'ERR_CA_INVALID')
    t.equal(lines.length, 1)
    t.equal(existsSync(tokenFile), !unlinkOnFailure)
  }
  const { folder, given } = await sandbox(t)
  const { lines } = await harmless(
    t,
    { ...given, tokenFile: folder, unlinkOnFailure: true },
    'ERR_TOKEN_NOT_A_FILE',
  )
  matchWhole(t, lines, [/disabled code=ERR_TOKEN_NOT_A_FILE/, /cleanup-failed code=ERR_TOKEN_UNLINK/])
  t.ok(existsSync(folder), 'a folder is not removed')
})

t.test('step 6: a token file that cannot be removed is a warning, and the relay runs', LINUX, async (t) => {
  const { given } = await sandbox(t)
  // A file of one line that nobody can unlink, root neither.
  const { result, lines } = await attempt(t, { ...given, tokenFile: '/proc/sys/kernel/osrelease' })
  t.match(result, { enabled: true })
  matchWhole(t, lines, [/warn: token-file-left code=ERR_TOKEN_UNLINK/])
})

t.test(
  'between steps 3 and 6: a token file that goes, or changes into something else, breaks nothing',
  async (t) => {
    const gone = await sandbox(t, (_request, response) => {
      rmSync(gone.tokenFile)
      response.end(GATEWAY_CA.certPem)
    })
    const without = await attempt(t, gone.given)
    matchWhole(t, without, { result: { enabled: true }, lines: [] })

    const changed = await sandbox(t, (_request, response) => {
      rmSync(changed.tokenFile)
      mkdirSync(changed.tokenFile)
      response.end(GATEWAY_CA.certPem)
    })
    const other = await attempt(t, changed.given)
    matchWhole(t, other, { result: { enabled: true }, lines: [/token-file-left code=ERR_TOKEN_UNLINK/] })
    t.ok(existsSync(changed.tokenFile))
  },
)

t.test('invariant 2: a variable that holds the token is kept from children, and named', async (t) => {
  const { given } = await sandbox(t)
  setEnvironment({ ...ENABLED, SESSION_TOKEN: CANARY, HEADER: `Bearer ${CANARY}` })
  t.teardown(() => setEnvironment(ENABLED))
  const { result, lines } = await attempt(t, given)
  t.match(result, { enabled: true })
  t.notOk('SESSION_TOKEN' in result.env || 'HEADER' in result.env)
  matchWhole(t, lines, [
    /token-in-environment variable=SESSION_TOKEN/,
    /token-in-environment variable=HEADER/,
  ])
})

t.test('a NO_PROXY of * is warned about', async (t) => {
  const { given } = await sandbox(t)
  setEnvironment({ ...ENABLED, NO_PROXY: '*' })
  t.teardown(() => setEnvironment(ENABLED))
  const { result, lines } = await attempt(t, given)
  t.match(result, { enabled: true })
  matchWhole(t, lines, [/warn: no-proxy-star/])
})

t.test('invariant 3: the process is non-dumpable before the token is read', LINUX, async (t) => {
  const { tokenFile, given } = await sandbox(t)
  const { report } = await hostProgram(t, { given, watch: tokenFile })
  matchWhole(
    t,
    report,
    { enabled: [true], dumpable: [1, 0, 0] },
    'at start, when the token file is opened, at the end',
  )
})

t.test(
  'a process that is not enabled, or inherits a relay, stays as dumpable as it was',
  LINUX,
  async (t) => {
    const { tokenFile, given } = await sandbox(t)
    const off = await hostProgram(t, { given, watch: tokenFile }, { ...ENABLED, CLAUDE_CODE_REMOTE: '' })
    matchWhole(t, off.report, { reasons: ['not-enabled'], dumpable: [1, 1], lines: [] })
    const { result } = await attempt(t, given)
    const nested = await hostProgram(t, { given, watch: tokenFile }, result.env)
    matchWhole(t, nested.report, { reasons: ['inherited'], dumpable: [1, 1], lines: [] })
  },
)

t.test('where hardening is not supported it is said once, and the relay runs; strict refuses', async (t) => {
  const { given } = await sandbox(t)
  const { report } = await hostProgram(t, { given, platform: 'sunos', times: 2 })
  t.equal(report.enabled[0], true)
  const warnings = report.lines.filter((line) => /warn: not-hardened .*this is sunos/.test(line))
  matchWhole(t, warnings, [/missing="non-dumpable tracer"/])
  t.equal(warnings.length, 1)
  const strict = await sandbox(t)
  const refused = await hostProgram(t, {
    given: { ...strict.given, hardening: 'strict' },
    platform: 'sunos',
    watch: strict.tokenFile,
  })
  matchWhole(t, refused.report, {
    reasons: ['ERR_HARDENING_INCOMPLETE'],
    lines: [/non-dumpable tracer .*sunos/],
  })
  t.equal(refused.report.dumpable.length, 2, 'the token file is not opened')
  t.ok(existsSync(strict.tokenFile))
})

t.test('the relay does not keep a program alive that has nothing else to do', async (t) => {
  const { given } = await sandbox(t)
  const { report, status } = await hostProgram(t, { given })
  matchWhole(t, { report, status }, { report: { enabled: [true] }, status: 0 })
})

t.test("invariant 8: no variable of the environment makes the gateway's certificate good", async (t) => {
  const { folder, tokenFile, given, endpoint } = await sandbox(t, GATEWAY_CA.certPem, { tls: true })
  const file = join(folder, 'gateway.pem')
  writeFileSync(file, GATEWAY_CA.certPem)
  const env = {
    ...ENABLED,
    NODE_EXTRA_CA_CERTS: file,
    SSL_CERT_FILE: file,
    NODE_TLS_REJECT_UNAUTHORIZED: '0',
  }
  const { report } = await hostProgram(t, { given }, env)
  matchWhole(t, report, {
    reasons: ['ERR_CA_FETCH'],
    lines: [/UNABLE_TO_VERIFY|SELF_SIGNED|UNABLE_TO_GET_ISSUER/],
  })
  t.equal(endpoint.requests.length, 0)
  t.ok(existsSync(tokenFile))
  const believed = await hostProgram(t, { given: { ...given, gatewayCa: file } }, env)
  matchWhole(t, believed.report, { enabled: [true] }, 'the experiment can fail')
})

t.test('a live relay of ours that the environment leads to', async (t) => {
  const outer = await sandbox(t)
  const { result: relay } = await attempt(t, outer.given)
  if (!relay.enabled) throw new Error(relay.reason)
  t.teardown(() => setEnvironment(ENABLED))

  await t.test(
    'is inherited by a nested process: no warning, and the variables are carried on',
    async (t) => {
      setEnvironment(relay.env)
      for (const given of [outer.given, { ...outer.given, sessionId: 'a:b' }]) {
        const { result, lines } = await harmless(t, given, 'inherited')
        t.same(lines, [])
        t.match(result.env, {
          HTTPS_PROXY: `http://127.0.0.1:${relay.port}`,
          SSL_CERT_FILE: relay.caBundlePath,
        })
      }
      const { HTTPS_PROXY: _upper, ...lower } = relay.env
      setEnvironment(lower)
      await harmless(t, outer.given, 'inherited')
    },
  )

  await t.test('is not asked where there is a token: that is a session of its own', async (t) => {
    setEnvironment(relay.env)
    const inner = await sandbox(t)
    const { result } = await attempt(t, inner.given)
    t.match(result, { enabled: true })
    t.not((result as { port?: number }).port, relay.port)
  })

  await t.test('is not inherited once it has gone', async (t) => {
    await relay.close()
    setEnvironment(relay.env)
    const { lines } = await harmless(t, outer.given, 'ERR_TOKEN_MISSING')
    matchWhole(t, lines, [/disabled code=ERR_TOKEN_MISSING/])
  })
})

t.test('a proxy that is not ours is not mistaken for it', async (t) => {
  const { given, tokenFile } = await sandbox(t)
  rmSync(tokenFile)
  t.teardown(() => setEnvironment(ENABLED))
  const answers: Parameters<typeof caEndpoint>[1][] = [
    '{"name":"squid"}',
    'null',
    '<html>',
    `{"name":"upstreamproxy","padding":"${'x'.repeat(70_000)}"}`,
    (_request, response) => response.writeHead(404).end('{"name":"upstreamproxy"}'),
    (request) => request.socket.destroy(),
    // Hangs: the question has a deadline.
    () => undefined,
  ]
  for (const answer of answers) {
    const proxy = await caEndpoint(t, answer)
    setEnvironment({ ...ENABLED, HTTPS_PROXY: proxy.url })
    await harmless(t, given, 'ERR_TOKEN_MISSING')
    matchWhole(t, proxy.requests, [{ url: '/__upstreamproxy/status' }])
  }
  const corporate = await caEndpoint(t, '{"name":"upstreamproxy"}')
  const { port } = new URL(corporate.url)
  for (const HTTPS_PROXY of [
    `http://localhost:${port}`,
    `http://u:p@127.0.0.1:${port}`,
    `http://127.0.0.2:${port}`,
  ]) {
    setEnvironment({ ...ENABLED, HTTPS_PROXY })
    await harmless(t, given, 'ERR_TOKEN_MISSING')
  }
  t.equal(corporate.requests.length, 0, 'only what looks like ours is asked')
})

type Tap = Test

async function sandbox(
  t: Tap,
  answer: Parameters<typeof caEndpoint>[1] = GATEWAY_CA.certPem,
  { tls = false } = {},
): Promise<Sandbox> {
  const folder = t.testdir({ token: `${CANARY}\n`, 'system.pem': SYSTEM_CA.certPem })
  const endpoint = await caEndpoint(t, answer, tls ? LEAF : undefined)
  const tokenFile = join(folder, 'token')
  const given: GivenOptions = {
    baseUrl: endpoint.url,
    tokenFile,
    caBundle: join(folder, 'home/ca-bundle.crt'),
    systemCa: join(folder, 'system.pem'),
  }
  return { folder, tokenFile, given, endpoint }
}

// Runs init in this process: never may it change the environment or tell the token.
async function attempt(t: Tap, given: GivenOptions): Promise<Attempt> {
  const before = { ...process.env }
  const lines: string[] = []
  const result = await initUpstreamProxy({ ...given, log: (line) => lines.push(line) })
  t.same({ ...process.env }, before, 'process.env is as it was')
  const told = inspect([lines, result, result.enabled ? result.status() : {}, process.argv], { depth: 9 })
  // What was in the parent's environment before is not init's, unless it hands out an environment of its own.
  if (result.enabled || !Object.values(before).some((value) => value?.includes(CANARY)))
    t.notMatch(told, CANARY)
  if (result.enabled) t.teardown(() => result.close({ drainMs: 0 }))
  return { result, lines }
}

// An attempt that comes to nothing, and leaves nothing open.
async function harmless(t: Tap, given: GivenOptions, reason: DisabledReason): Promise<Attempt> {
  const openBefore = openHandles()
  const done = await attempt(t, given)
  t.match(done.result, { enabled: false, reason })
  t.same(done.result.env, { ...process.env }, "env is the parent's, unchanged")
  await eventually(
    () => openHandles().length <= openBefore.length,
    `all closed again (before: ${openBefore}; after: ${openHandles()})`,
    2_000,
  )
  return done
}

function openHandles(): string[] {
  return process.getActiveResourcesInfo().filter((name) => name !== 'Timeout' && name !== 'Immediate')
}

// Exactly these, besides what has nothing to do with the proxy: the machine may carry half of them already.
function setEnvironment(env: Readonly<Record<string, string | undefined>>): void {
  const ours =
    /^(?:CLAUDE_CODE_|CCR_|ANTHROPIC_|UPSTREAMPROXY_|SSL_CERT_|SESSION_TOKEN$|HEADER$|TMPDIR$)|_proxy$/i
  for (const name of Object.keys(process.env))
    if (ours.test(name) || VARIABLES.some((variable) => variable.name === name)) delete process.env[name]
  for (const [name, value] of Object.entries(env)) if (value !== undefined) process.env[name] = value
}

async function hostProgram(
  t: Tap,
  program: HostProgram,
  env: Readonly<Record<string, string>> = ENABLED,
): Promise<{ report: HostReport; status: number }> {
  const file = fileURLToPath(new URL('support/init-program.js', import.meta.url))
  const options: SpawnOptions = {
    stdio: ['ignore', 'pipe', 'ignore'],
    env: { PATH: process.env['PATH'], ...env },
  }
  const child = spawn(process.execPath, [file, JSON.stringify(program)], options)
  t.teardown(() => child.kill('SIGKILL'))
  const [output, [status]] = await within(
    Promise.all([text(child.stdout!), once(child, 'exit')]),
    'the program',
  )
  return { report: JSON.parse(output), status }
}

async function listening(server: Server, port = 0): Promise<Server> {
  server.listen(port, '127.0.0.1')
  await once(server, 'listening')
  return server
}

async function freePort(): Promise<number> {
  const server = await listening(createServer())
  const { port } = server.address() as { port: number }
  await new Promise((resolve) => server.close(resolve))
  return port
}

function isOpen(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket: Socket = connect(port, '127.0.0.1', () => resolve(true))
    socket.on('error', () => resolve(false))
    socket.on('connect', () => socket.destroy())
  })
}

function fail(message: string): never {
  throw new Error(message)
}

function readOrNothing(path: string): string | undefined {
  try {
    return readFileSync(path, 'utf8')
  } catch {
    // Not there, or a folder: that is an answer.
    return undefined
  }
}
