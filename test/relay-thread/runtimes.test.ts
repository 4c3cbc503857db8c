/** The thread on every runtime that is supported, and out of the package as it is installed. */
import { rmSync, symlinkSync } from 'node:fs'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import t, { type Test } from 'tap'
import { needingPrograms, programOf } from '../support/cached-program.js'
import { within } from '../support/deadline.js'
import { matchWhole } from '../support/match-whole.js'
import { RUNTIME_NAMES, runtimeProgram } from '../support/runtimes.js'
import { CHECKOUT, packTarball, unpackTarball } from '../support/tarball.js'
import { type HostOptions, longestRoundMs, startHost } from './host.js'

for (const name of RUNTIME_NAMES) {
  const runtime = runtimeProgram(name)
  t.test(`a busy host holds up no tunnel on ${name}`, needingPrograms(runtime), (t) =>
    works(t, { program: programOf(runtime) }),
  )
}

t.test('the thread starts out of the packed package', async (t) => {
  const unpacked = unpackTarball(packTarball(t))
  symlinkSync(join(CHECKOUT, 'node_modules'), join(unpacked, 'node_modules'))
  await works(t, { dist: new URL('dist/', `${pathToFileURL(unpacked)}/`) })
})

t.test(
  'where the thread’s file has been left out, as bundlers do, the relay runs without a thread',
  async (t) => {
    const unpacked = unpackTarball(packTarball(t))
    symlinkSync(join(CHECKOUT, 'node_modules'), join(unpacked, 'node_modules'))
    rmSync(join(unpacked, 'dist/relay/relay-thread.js'))
    const dist = new URL('dist/', `${pathToFileURL(unpacked)}/`)
    const host = await startHost(t, { dist, given: { relay: {} } })
    t.equal(host.setUp.enabled, true)
    t.match(
      await host.lines(),
      /^upstreamproxy warn: relay-without-thread code=ERR_RELAY_THREAD message=.*relay-thread.js.*\n$/,
    )
    await host.tunnel()
    t.equal((await host.status()).thread, 'host')
    const asked = await startHost(t, { dist, given: { relay: { thread: true } } })
    t.match(asked.setUp, { enabled: false, reason: 'ERR_RELAY_THREAD' })
  },
)

t.test('where nobody says, a program on Node has a thread, and one on Bun has none', async (t) => {
  const host = await startHost(t, { given: { relay: undefined } })
  t.equal((await host.status()).thread, 'own')
  const bun = runtimeProgram('bun')
  await t.test('Bun', needingPrograms(bun), async (t) => {
    const host = await startHost(t, { program: programOf(bun), given: { relay: undefined } })
    t.equal((await host.status()).thread, 'host')
  })
})

async function works(t: Test, options: HostOptions): Promise<void> {
  const host = await startHost(t, options)
  t.match(host.setUp, { enabled: true }, await host.lines())
  const client = await host.tunnel()
  const busy = host.ask('block(1500)')
  const longest = await longestRoundMs(client, 1_000)
  t.ok(longest < 500, `no round took longer than ${Math.round(longest)} ms`)
  await busy
  const { thread, bytes, tunnels } = await host.status()
  t.match({ thread, tunnels }, { thread: 'own', tunnels: { open: 1, total: 1 } })
  t.ok(bytes.up >= 64 && bytes.up === bytes.down - 39, `${bytes.up} bytes, and the 200`)
  client.end()
  t.match(await client.rest(), { ending: 'fin' })
  await host.ask('relay.close()')
  matchWhole(t, await host.status(), { thread: 'ended', failures: [] })
  host.leave()
  t.equal(await within(host.ended, 'the end of the host'), 0)
  t.equal(host.errors(), '')
}
