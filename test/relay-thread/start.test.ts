/** How the thread starts, and what of the host's own start does not come along. */
import { once } from 'node:events'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { type AddressInfo, createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import t from 'tap'
import { makeCa } from '../support/certificates.js'
import { within } from '../support/deadline.js'
import { matchWhole } from '../support/match-whole.js'
import { RawClient } from '../support/raw-client.js'
import { CANARY } from './echo-gateway.js'
import { startHost } from './host.js'

const RELAY_THREAD = new URL(import.meta.resolve('#src/relay/relay-thread.js'))

t.test('the thread has the token, the roots and the limits of the host', async (t) => {
  const host = await startHost(t, { given: { limits: { maxTunnels: 1 } } })
  const first = await host.tunnel()
  first.write('hello')
  t.equal(String(await first.inbox.read(5)), 'hello')
  t.same(host.gateway.authorizations, [`Bearer ${CANARY}`])
  const second = await RawClient.connect(host.setUp.port)
  second.write('CONNECT origin.test:443 HTTP/1.1\r\n\r\n')
  t.match(await second.answer(), { status: 503, body: /ERR_TOO_MANY_TUNNELS/ })
  matchWhole(t, await host.status(), { thread: 'own', failures: [{ code: 'ERR_TOO_MANY_TUNNELS' }] })
  t.same(await host.lines(), '', 'nothing is said')
})

t.test('the thread verifies the gateway against the roots that it was given, and no others', async (t) => {
  const { certPem } = await makeCa({ name: 'somebody else' })
  const host = await startHost(t, { thread: RELAY_THREAD, caPem: certPem })
  const client = await RawClient.connect(host.setUp.port)
  client.write('CONNECT origin.test:443 HTTP/1.1\r\n\r\n')
  t.match(await client.answer(), { status: 502, body: /ERR_GATEWAY_TLS/ })
  const believed = await startHost(t, { thread: RELAY_THREAD })
  await believed.tunnel()
})

t.test('a port that is taken: the same code, cause and hint, and nothing is left running', async (t) => {
  const taken = createServer().listen(0, '127.0.0.1')
  await once(taken, 'listening')
  t.teardown(() => taken.close())
  const { port } = taken.address() as AddressInfo
  const host = await startHost(t, { given: { port } })
  t.same(host.setUp, { enabled: false, reason: 'ERR_LISTEN', port: 0 })
  t.match(
    await host.lines(),
    /^upstreamproxy warn: disabled code=ERR_LISTEN message=.*EADDRINUSE.* hint="the port is taken.*" cause=EADDRINUSE\n$/,
  )
  host.leave()
  t.equal(await within(host.ended, 'the end of the host'), 0)
})

t.test('a thread that cannot be started is ERR_RELAY_THREAD, and the host goes on', async (t) => {
  const absent = await startHost(t, { thread: new URL('not-there.js', RELAY_THREAD) })
  t.match(absent.setUp, { enabled: false, reason: 'ERR_RELAY_THREAD' })

  const flags = ['--experimental-permission', '--allow-fs-read=*', '--allow-fs-write=*', '--allow-addons']
  const forbidden = await startHost(t, { flags, thread: RELAY_THREAD })
  t.match(forbidden.setUp, { enabled: false, reason: 'ERR_RELAY_THREAD' })
  const allowed = await startHost(t, { flags: [...flags, '--allow-worker'], thread: RELAY_THREAD })
  t.match(allowed.setUp, { enabled: true }, 'the experiment can succeed')
})

t.test('nothing of the host’s flags and variables runs in the thread', async (t) => {
  const folder = mkdtempSync(join(tmpdir(), 'upstreamproxy-hooks-'))
  t.teardown(() => rmSync(folder, { recursive: true, force: true }))
  const say = `require('fs').writeSync(2, 'hook in ' + (require('worker_threads').isMainThread ? 'main' : 'thread') + ';')`
  writeFileSync(join(folder, 'hook.cjs'), say)
  writeFileSync(
    join(folder, 'hook.mjs'),
    `import { createRequire } from 'node:module'
const require = createRequire(import.meta.url)
${say}`,
  )
  const hooks = ['--require', join(folder, 'hook.cjs'), '--import', join(folder, 'hook.mjs')]
  for (const start of [{ flags: hooks }, { env: { NODE_OPTIONS: hooks.join(' ') } }]) {
    const host = await startHost(t, start)
    const client = await host.tunnel()
    client.write('hello')
    t.equal(String(await client.inbox.read(5)), 'hello')
    t.match(await host.status(), { thread: 'own' })
    t.equal(host.errors(), 'hook in main;hook in main;')
  }
})

t.test('NODE_DEBUG, which may print what goes through sockets, is not heard in the thread', async (t) => {
  const env = { NODE_DEBUG: 'http,https,net,tls,stream' }
  const saidOfTunnel = async (thread: boolean) => {
    const host = await startHost(t, { env, given: { relay: { thread }, engine: 'node' } })
    // What the way to the CA has left behind.
    await host.ask('new Promise((resolve) => setTimeout(resolve, 200))')
    const before = host.errors().length
    const client = await host.tunnel()
    client.write('hello')
    t.equal(String(await client.inbox.read(5)), 'hello')
    await host.status()
    t.notMatch(host.errors(), CANARY)
    return host.errors().slice(before)
  }
  t.notMatch(await saidOfTunnel(true), /TLS|HTTP/)
  t.match(await saidOfTunnel(false), /TLS|HTTP/, 'the experiment can fail')
})
