import { once } from 'node:events'
import { statSync } from 'node:fs'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { join } from 'node:path'
import t from 'tap'
import { eventually, within } from '../../../dist-test/support/deadline.js'
import { needing } from './clients.js'
import { startWorld } from './world.js'

const world = await startWorld(t)
const NEEDS_CURL = needing('curl')
const MIB = 1024 * 1024
// A port that was free a moment ago: nobody listens there.
const NOBODY = await unusedUrl()

t.test(
  'no gateway: curl runs with the environment that it would have had, its exit status its own',
  NEEDS_CURL,
  async (t) => {
    const sandbox = world.sandbox()
    const env = { ...sandbox.env, CCR_UPSTREAM_PROXY_BASE_URL: NOBODY }
    const print = [process.execPath, '-p', 'JSON.stringify(process.env)']
    t.same(JSON.parse((await sandbox.run(print, { env })).out), env)

    const server = createServer((_request, response) => response.end('past the proxy'))
    server.listen(0, '127.0.0.1')
    await once(server, 'listening')
    t.teardown(() => server.close())
    const { port } = server.address() as AddressInfo
    const works = await sandbox.run(['curl', '-sS', `http://127.0.0.1:${port}/`], { env })
    t.match(works, { status: 0, out: 'past the proxy' })
    t.match(works.err, /warn: .*ERR_CA_/, 'one warning with the reason')
    const fails = await sandbox.run(['curl', '-sS', NOBODY.replace('https:', 'http:')], { env })
    t.equal(fails.status, 7, 'curl: could not connect')
  },
)

t.test('no gateway and --require: exits 69 with the reason, and the command does not run', async (t) => {
  const sandbox = world.sandbox()
  const env = { ...sandbox.env, CCR_UPSTREAM_PROXY_BASE_URL: NOBODY }
  const { status, out, err } = await sandbox.run(['echo', 'ran'], { env, flags: ['--require'] })
  t.same({ status, out }, { status: 69, out: '' })
  t.match(err, /ERR_CA_/)
})

t.test('a gateway with a certificate that is not trusted gets neither token nor request', async (t) => {
  const sandbox = world.sandbox()
  const { status, out, err } = await sandbox.run(['echo', 'ran'], {
    flags: ['--gateway-ca', `${world.organisation.folder}/origins.pem`],
  })
  t.same({ status, out }, { status: 0, out: 'ran\n' })
  t.match(err, /warn: .*ERR_/)
  await sandbox.audit({ connects: 0, requests: 0 })
})

t.test(
  'the gateway is killed in the middle of a download: curl fails, the session goes on',
  NEEDS_CURL,
  async (t) => {
    const sandbox = world.sandbox()
    const script = `"$@"; echo "curl: $?"; echo 'still here'`
    const curl = ['curl', '-sS', '-o', 'download', world.url('api', `/stall/${MIB}`)]
    const arrived = world.api.nextRequest()
    const program = sandbox.start(['sh', '-c', script, 'sh', ...curl])
    await within(arrived, 'the request')
    const { evidence, organisation } = world
    await sawBytes(sandbox.home)
    world.gateway.process.kill('SIGKILL')
    const { status, out } = await within(program.ended, 'the end of the session')
    t.match(out, /^curl: ([1-9][0-9]*)\nstill here\n$/)
    t.equal(status, 0)
    t.same(evidence.leaks(organisation.secrets), [])
  },
)

async function unusedUrl(): Promise<string> {
  const server = createServer().listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as AddressInfo
  server.close()
  return `https://127.0.0.1:${port}`
}

async function sawBytes(home: string): Promise<void> {
  await eventually(
    () => (statSync(join(home, 'download'), { throwIfNoEntry: false })?.size ?? 0) > 0,
    'bytes of the download',
  )
}
