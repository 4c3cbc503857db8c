import { mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { delimiter, dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import t, { type Test } from 'tap'
import { parse, parseAllDocuments } from 'yaml'
import { makeCa, makeLeaf } from '../../../dist-test/support/certificates.js'
import { eventually, within } from '../../../dist-test/support/deadline.js'
import { matchWhole } from '../../../dist-test/support/match-whole.js'
import { EXAMPLES, entrypoint, readDockerfile } from '../packaging/dockerfile.js'
import { needing } from './clients.js'
import { startProgram } from './processes.js'
import { GATEWAY_CLI, startWorld } from './world.js'

// As `npm install` puts it there: `upstreamproxy` by its name.
const bin = mkdtempSync(join(tmpdir(), 'upstreamproxy-bin-'))
t.teardown(() => rmSync(bin, { recursive: true, force: true }))
symlinkSync(fileURLToPath(new URL('../../../dist/cli.js', import.meta.url)), join(bin, 'upstreamproxy'))
const PATH = [bin, process.env['PATH']].join(delimiter)
const world = await startWorld(t)
const { apiKey } = world.organisation.headers
const NEEDS_CURL = needing('curl')

t.test('gateway.yaml: check finds nothing to complain about, and does find a mistake in it', async (t) => {
  const folder = mkdtempSync(join(tmpdir(), 'upstreamproxy-e2e-'))
  t.teardown(() => rmSync(folder, { recursive: true, force: true }))
  const ca = await makeCa({ name: 'internal' })
  const pair = await makeLeaf(ca)
  for (const [name, content] of Object.entries({
    'tls/server.pem': pair.certPem,
    'tls/server.key': pair.keyPem,
    'tls/internal-roots.pem': ca.certPem,
    'secrets/nightly-token': 'nightly\n',
    'secrets/git-basic': 'Z2l0OmdpdA==\n',
  })) {
    mkdirSync(dirname(join(folder, name)), { recursive: true })
    writeFileSync(join(folder, name), content)
  }
  const text = readFileSync(join(EXAMPLES, 'gateway.yaml'), 'utf8')
  const variables = [...text.matchAll(/env: (\w+)/g)].map(([, name]) => [
    name,
    `value of ${name}`.replaceAll(' ', '-'),
  ])
  const check = (yaml: string) => {
    writeFileSync(join(folder, 'gateway.yaml'), yaml)
    const env = { PATH, ...Object.fromEntries(variables) }
    return startProgram(t, process.execPath, [GATEWAY_CLI, 'check', '--config', 'gateway.yaml'], {
      env,
      cwd: folder,
    }).ended
  }
  t.match(await check(text), { status: 0, out: /good: 2 sessions, 2 organisations, 6 rules/, err: '' })
  t.match(await check(text.replace('default: deny', 'defualt: deny')), {
    status: 78,
    err: /did you mean default/,
  })
})

t.test('node-program: its own request and those of its children go through', NEEDS_CURL, async (t) => {
  const sandbox = world.sandbox()
  const [own, child] = ['/example/own', '/example/child'].map((path) => world.url('api', path))
  const program = ['node', join(EXAMPLES, 'node-program/main.js'), own!, 'curl', '-sS', child!]
  const { status, out, err } = await sandbox.runDirectly(program)
  t.equal(status, 0, err)
  t.match(err, /relay on port \d+/)
  t.match(out, /^200 \{.*"path":"\/example\/own"/)
  t.match(out, '"path":"/example/child"')
  assertInjected(t, ['/example/own', '/example/child'])
  await sandbox.audit({ connects: 2, requests: 2 })

  const url = `https://127.0.0.1:${world.api.port}/example/without`
  const env = { PATH, NODE_EXTRA_CA_CERTS: join(world.organisation.folder, 'origins.pem') }
  const without = await startProgram(t, 'node', [program[1]!, url], { env }).ended
  t.match(without, { status: 0, out: /^200 /, err: /without a relay: not-enabled/ })
})

// In roots of their own, with what else they say, they all run in ../packaging/images.test.ts.
t.test('Dockerfile.slim: the entrypoint runs a command behind the relay', NEEDS_CURL, async (t) => {
  const image = readDockerfile('Dockerfile.slim').at(-1)!
  const sandbox = world.sandbox()
  const env = { ...sandbox.env, PATH, UPSTREAMPROXY_GATEWAY_CA: world.organisation.gatewayCaFile }
  const command = [...entrypoint(image), 'curl', '-sS', world.url('api', '/example/docker')]
  const { status, err } = await sandbox.runDirectly(command, { env })
  t.equal(status, 0, err)
  assertInjected(t, ['/example/docker'])
})

t.test(
  'kubernetes.yaml: the session gets through by the file that the sidecar writes',
  NEEDS_CURL,
  async (t) => {
    const text = readFileSync(join(EXAMPLES, 'kubernetes.yaml'), 'utf8')
    t.equal(parseAllDocuments(text).length, 1)
    const sandbox = world.sandbox()
    // The mounts become folders of the sandbox, and what is a name in the example the real one.
    const here = (word: string) =>
      word
        .replace(/\/run\/(issued|ccr|proxy|gateway-ca)\b/g, `${sandbox.home}/$1`)
        .replace('https://gateway.example:8443', world.gatewayUrl)
        .replace('https://api.payments.example/v1/balance', world.url('api', '/example/kubernetes'))
        .replace(/^session-1$/, sandbox.sessionId)
    for (const folder of ['issued', 'ccr', 'proxy', 'gateway-ca']) mkdirSync(join(sandbox.home, folder))
    writeFileSync(join(sandbox.home, 'gateway-ca/ca.pem'), readFileSync(world.organisation.gatewayCaFile))
    sandbox.issueToken(join(sandbox.home, 'issued/session_token'))

    const { initContainers, containers } = (parse(text) as Pod).spec
    const [handOver, relay] = initContainers
    const start = ({ command, args = [], env = [] }: Container, more: Record<string, string> = {}) => {
      const variables = env.map(({ name, value }) => [name, here(value)])
      return sandbox.startDirectly([...command, ...args].map(here), {
        env: { PATH, HOME: sandbox.home, ...Object.fromEntries(variables), ...more },
      })
    }
    t.match(await start(handOver!).ended, { status: 0 })
    // A mount of the container's in the example, a path to be told here.
    const sidecar = start(relay!, { UPSTREAMPROXY_TOKEN_FILE: join(sandbox.home, 'ccr/session_token') })
    const probe = relay!.startupProbe!.exec.command
    await eventually(async () => (await start({ command: probe }).ended).status === 0, 'the startup probe')
    t.match(sidecar.out(), '"enabled":true')

    const session = await within(start(containers[0]!).ended, 'the session')
    t.equal(session.status, 0, session.err)
    assertInjected(t, ['/example/kubernetes'])
    sidecar.process.kill('SIGTERM')
    t.match(await within(sidecar.ended, 'the end of the sidecar'), { status: 0 })
    await sandbox.audit({ connects: 1, requests: 1 })
  },
)

t.test('nothing of all this shows a secret', (t) => world.assertNoLeaks(t))

interface Container {
  readonly command: readonly string[]
  readonly args?: readonly string[]
  readonly env?: readonly { readonly name: string; readonly value: string }[]
  readonly startupProbe?: { readonly exec: { readonly command: readonly string[] } }
}

interface Pod {
  readonly spec: { readonly initContainers: readonly Container[]; readonly containers: readonly Container[] }
}

function assertInjected(t: Test, paths: readonly string[]): void {
  for (const path of paths) {
    const seen = world.api.requests.filter((request) => request.path === path)
    matchWhole(t, seen, [{ headers: { 'x-api-key': apiKey } }], path)
    t.equal(seen.length, 1)
  }
}
