/** The thread on every runtime that is supported, and out of the package as it is installed. */
import { symlinkSync } from 'node:fs'
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
