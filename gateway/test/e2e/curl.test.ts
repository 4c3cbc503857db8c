import { createHash } from 'node:crypto'
import { createReadStream } from 'node:fs'
import { join } from 'node:path'
import { pipeline } from 'node:stream/promises'
import t, { type Test } from 'tap'
import { matchWhole } from '../../../dist-test/support/match-whole.js'
import { needing } from './clients.js'
import { type Echo, sourceBytes, sourceSha256 } from './origins/api.js'
import type { SeenRequest } from './origins/origin.js'
import { startWorld } from './world.js'

const world = await startWorld(t)
const { apiKey, strangerKey } = world.organisation.headers
const NEEDS_CURL = needing('curl')
const MIB = 1024 * 1024

t.test(
  'curl GET: the origin gets a header that curl never had, and the audit its record',
  NEEDS_CURL,
  async (t) => {
    const sandbox = world.sandbox()
    const { status, out, err } = await sandbox.run(['curl', '-sSv', world.url('api', '/get?name=ada&debug')])
    t.equal(status, 0, err)
    t.match(JSON.parse(out) as Echo, { method: 'GET', path: '/get?name=ada&debug', bodyBytes: 0 })
    t.equal(seenAt(t, '/get?name=ada&debug').headers['x-api-key'], apiKey)
    t.notMatch(err, /x-api-key/i, 'curl did not send it')

    const { connects, requests } = await sandbox.audit({ connects: 1, requests: 1 })
    matchWhole(t, requests, [
      {
        org: 'acme',
        host: 'api.test',
        port: world.api.port,
        method: 'GET',
        path: '/get?name=*&*',
        rule: '3',
        injected: ['x-api-key'],
        decision: 'allow',
        reason: null,
        status: 200,
        bytesUp: 0,
        bytesDown: out.length,
      },
    ])
    const target = { org: 'acme', host: 'api.test', port: world.api.port }
    matchWhole(t, connects, [{ ...target, decision: 'allow', reason: null, status: 200, requests: 1 }])
    t.ok(connects[0]!.bytesUp > 0 && connects[0]!.bytesDown > out.length, 'the tunnel carried TLS')
    t.equal(requests[0]!.connection, connects[0]!.connection)
  },
)

t.test(
  'curl POST: body and injected header arrive; a header of that name of curl’s own does not',
  NEEDS_CURL,
  async (t) => {
    const sandbox = world.sandbox()
    const body = 'name=ada&text=ümläut'
    const own = ['-H', 'X-Api-Key: forged', '-H', 'X-Other: kept', '--data-binary', body]
    const { status, out, err } = await sandbox.run(['curl', '-sS', ...own, world.url('api', '/post')])
    t.equal(status, 0, err)
    t.match(JSON.parse(out), { method: 'POST', bodyBytes: Buffer.byteLength(body), bodySha256: sha256(body) })
    t.match(seenAt(t, '/post').headers, { 'x-api-key': apiKey, 'x-other': 'kept' })
    const { requests } = await sandbox.audit({ connects: 1, requests: 1 })
    matchWhole(t, requests, [
      { method: 'POST', path: '/post', status: 200, bytesUp: Buffer.byteLength(body) },
    ])
  },
)

t.test('two URLs over one connection: the header is injected into both requests', NEEDS_CURL, async (t) => {
  const sandbox = world.sandbox()
  const urls = ['/first', '/second'].map((path) => world.url('api', path))
  const { status, err } = await sandbox.run(['curl', '-sSv', ...urls])
  t.equal(status, 0, err)
  t.match(err, /Re-using existing connection/i)
  for (const path of ['/first', '/second']) t.equal(seenAt(t, path).headers['x-api-key'], apiKey, path)
  const { connects, requests } = await sandbox.audit({ connects: 1, requests: 2 })
  matchWhole(t, connects, [{ requests: 2 }])
  t.same(
    requests.map(({ path, injected, connection }) => ({ path, injected, connection })),
    ['/first', '/second'].map((path) => ({
      path,
      injected: ['x-api-key'],
      connection: connects[0]!.connection,
    })),
  )
})

t.test('a denied host: curl fails, and is shown the reason', NEEDS_CURL, async (t) => {
  const sandbox = world.sandbox()
  const { status, err } = await sandbox.run(['curl', '-sSv', 'https://some.blocked.test/'])
  t.equal(status, 56, 'curl: failure in receiving network data')
  t.match(err, 'HTTP/1.1 403 ')
  t.match(err, /proxy-status: upstreamproxy-gateway; .*details="denied-by-rule"/i)
  const { connects } = await sandbox.audit({ connects: 1, requests: 0 })
  matchWhole(t, connects, [
    {
      host: 'some.blocked.test',
      port: 443,
      decision: 'deny',
      rule: '1',
      reason: 'denied-by-rule',
      status: 403,
    },
  ])
})

t.test('a denied path: curl gets the reason as an answer, the origin gets nothing', NEEDS_CURL, async (t) => {
  const sandbox = world.sandbox()
  const { status, out, err } = await sandbox.run(['curl', '-sS', world.url('api', '/forbidden/fruit')])
  t.equal(status, 0, err)
  t.match(out, 'denied-by-rule')
  t.equal(world.api.requests.filter(({ path }) => path === '/forbidden/fruit').length, 0)
  const { requests } = await sandbox.audit({ connects: 1, requests: 1 })
  matchWhole(t, requests, [
    { path: '/forbidden/fruit', decision: 'deny', rule: '2', reason: 'denied-by-rule', status: 403 },
  ])
  t.same(requests[0]!.injected, [])
})

t.test(
  'an origin with an unknown certificate is refused, and the secret is not sent',
  NEEDS_CURL,
  async (t) => {
    const sandbox = world.sandbox()
    const { status, out, err } = await sandbox.run(['curl', '-sSi', world.url('stranger', '/')])
    t.equal(status, 0, err)
    t.match(out, 'HTTP/1.1 502 ')
    t.match(out, 'upstream-certificate')
    t.ok(world.stranger.connections() > 0, 'the gateway did ask')
    t.same(world.stranger.requests, [])
    t.notMatch(out + err, strangerKey)
    const { requests } = await sandbox.audit({ connects: 1, requests: 1 })
    matchWhole(t, requests, [{ host: 'stranger.test', reason: 'upstream-certificate', status: 502 }])
  },
)

t.test('64 MiB up and 64 MiB down at the same time arrive unharmed', NEEDS_CURL, async (t) => {
  const sandbox = world.sandbox()
  const bytes = 64 * MIB
  const file = join(sandbox.home, 'downloaded')
  const parallel = ['curl', '-sS', '--parallel', '--parallel-immediate', '--fail-with-body']
  const down = ['-o', file, world.url('api', `/source/${bytes}`)]
  const up = ['-T', '-', '-o', join(sandbox.home, 'echo'), world.url('api', '/sink')]
  const script = 'cd "$HOME" && "$@" && cat echo'
  const { status, out, err } = await sandbox.run(
    ['sh', '-c', script, 'sh', ...parallel, ...down, '--next', '-sS', '--fail-with-body', ...up],
    { input: sourceBytes(bytes) },
  )
  t.equal(status, 0, err)
  t.equal(await sha256OfFile(file), sourceSha256(bytes), 'down')
  t.match(JSON.parse(out), { bodyBytes: bytes, bodySha256: sourceSha256(bytes) }, 'up')
  t.equal(seenAt(t, '/sink').headers['x-api-key'], apiKey)
  t.equal(seenAt(t, `/source/${bytes}`).headers['x-api-key'], apiKey)
  const { connects, requests } = await sandbox.audit({ connects: 2, requests: 2 })
  t.same(
    requests.map(({ bytesUp, bytesDown }) => Math.max(bytesUp, bytesDown)),
    [bytes, bytes],
  )
  t.equal(new Set(connects.map(({ connection }) => connection)).size, 2)
})

t.test('64 MiB from a file, with their length told, arrive unharmed', NEEDS_CURL, async (t) => {
  const sandbox = world.sandbox()
  const bytes = 64 * MIB
  const script = 'cat > "$HOME/file" && exec "$@"'
  const upload = ['curl', '-sS', '-T', join(sandbox.home, 'file'), world.url('api', '/known-length')]
  const { status, out, err } = await sandbox.run(['sh', '-c', script, 'sh', ...upload], {
    input: sourceBytes(bytes),
  })
  t.equal(status, 0, err)
  t.match(JSON.parse(out), { method: 'PUT', bodyBytes: bytes, bodySha256: sourceSha256(bytes) })
  t.match(seenAt(t, '/known-length').headers, { 'content-length': String(bytes), 'x-api-key': apiKey })
  await sandbox.audit({ connects: 1, requests: 1 })
})

t.test(
  'variables for other CAs that a sandbox inherits neither break curl nor lose their CAs',
  NEEDS_CURL,
  async (t) => {
    const sandbox = world.sandbox()
    // A company's roots, here those of the origins: what goes past the proxy is verified by them.
    const inherited = join(world.organisation.folder, 'origins.pem')
    const names = [
      'SSL_CERT_FILE',
      'CURL_CA_BUNDLE',
      'NODE_EXTRA_CA_CERTS',
      'REQUESTS_CA_BUNDLE',
      'GIT_SSL_CAINFO',
    ]
    const env = { ...sandbox.env, ...Object.fromEntries(names.map((name) => [name, inherited])) }
    const past = `https://127.0.0.1:${world.api.port}/past-the-proxy`
    const { status, out, err } = await sandbox.run(['curl', '-sS', world.url('api', '/through'), past], {
      env,
    })
    t.equal(status, 0, err)
    t.equal(seenAt(t, '/through').headers['x-api-key'], apiKey)
    t.notOk('x-api-key' in seenAt(t, '/past-the-proxy').headers, 'loopback is not the gateway’s business')
    t.equal(out.trim().split('\n').length, 2)
    await sandbox.audit({ connects: 1, requests: 1 })
  },
)

t.test('nothing of all this shows a secret', (t) => world.assertNoLeaks(t))

function seenAt(t: Test, path: string): SeenRequest {
  const found = world.api.requests.filter((request) => request.path === path)
  t.equal(found.length, 1, `one request at the origin for ${path}`)
  return found[0]!
}

function sha256(bytes: string): string {
  return createHash('sha256').update(bytes).digest('hex')
}

async function sha256OfFile(file: string): Promise<string> {
  const hash = createHash('sha256')
  await pipeline(createReadStream(file), hash)
  return hash.digest('hex')
}
