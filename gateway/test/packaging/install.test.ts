import { mkdirSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { needingPrograms, programOf } from '../../../dist-test/support/cached-program.js'
import { within } from '../../../dist-test/support/deadline.js'
import { barePath, installEnvironment } from '../../../dist-test/support/installing.js'
import { packTarball, unpackTarball } from '../../../dist-test/support/tarball.js'
import { type Ended, startProgram } from '../e2e/processes.js'
import { startWorld } from '../e2e/world.js'
import { MANAGERS, type Manager } from './managers.js'
import { assertAddonBelow, MAIN, makeProject, packageOf, type VersionDocument } from './project.js'

// Of scripts that ran or were kept from running, of builds, of peers, of anything that it would rather not install.
const COMPLAINTS = /warn|deprecat|peer|gyp|\bscripts?\b|build script|postinstall|unsupported|ERR_|error/i
const COMMAND_MS = 60_000

const world = await startWorld(t)
const tarball = packTarball(t)
const unpacked = unpackTarball(tarball)

for (const manager of MANAGERS) {
  const needs = needingPrograms(manager.tool, manager.runtime)
  t.test(`${manager.name}: installs in silence without a compiler; what is installed works`, needs, (t) =>
    installAndUse(t, manager),
  )
}

t.test('there is no compiler where the package managers look for one', async (t) => {
  const path = barePath(t, { node: process.execPath })
  const wanted = 'command -v cc c++ gcc g++ clang make cmake ninja python python3 node-gyp cmake-js'
  t.same(await command(t, '/bin/sh', ['-c', `${wanted}; command -v node`], '/', { PATH: path }), {
    status: 0,
    signal: null,
    out: `${path}/node\n`,
    err: '',
  })
})

t.test('nothing of all this shows a secret', (t) => world.assertNoLeaks(t))

async function installAndUse(t: Test, manager: Manager): Promise<void> {
  const runtime = programOf(manager.runtime)
  const path = barePath(t, { [manager.runtimeName]: runtime })
  const env = installEnvironment(path)
  mkdirSync(env['HOME']!, { recursive: true })
  const [program, ...first] = manager.isScript
    ? [runtime, programOf(manager.tool)]
    : [programOf(manager.tool)]
  const project = makeProject(t, tarball)
  for (const words of manager.installs) {
    const { status, out, err } = await command(t, program, [...first, ...words], project, env)
    t.equal(status, 0, out + err)
    t.notMatch((out + err).replace(manager.says ?? '', ''), COMPLAINTS, words.join(' '))
  }

  const bin = [...first, ...manager.run, 'upstreamproxy', '--version', '--json']
  const { status, out, err } = await command(t, program, bin, project, env)
  t.equal(status, 0, err)
  const document = assertAddonBelow(t, out, { folder: project, unpacked })
  t.equal(document.runtime.name, manager.runtimeName)

  const sandbox = world.sandbox()
  const url = world.url('api', `/packaging/${manager.name}`)
  const words = manager.node === undefined ? [runtime] : [program, ...first, ...manager.node]
  const used = await sandbox.runDirectly([...words, MAIN, url], {
    cwd: project,
    env: { ...sandbox.env, PATH: path, UPSTREAMPROXY_GATEWAY_CA: world.organisation.gatewayCaFile },
  })
  t.match(used, { status: 0, err: /relay on port \d+/, out: `"path":"/packaging/${manager.name}"` })
  await sandbox.audit({ connects: 1, requests: 1 })

  // Where there is no addon for a machine, what takes over must be found in every layout, too.
  rmSync(join(packageOf(document), 'prebuilds'), { recursive: true })
  const without = JSON.parse((await command(t, program, bin, project, env)).out) as VersionDocument
  const { implementation, why } = without.capabilities['non-dumpable']!
  t.equal(implementation, manager.runtimeName === 'bun' ? 'bun-ffi' : 'koffi', why)
}

function command(t: Test, program: string, args: string[], cwd: string, env: Record<string, string>) {
  const { ended } = startProgram(t, program, args, { cwd, env })
  return within<Ended>(ended, `the end of ${[program, ...args].join(' ')}`, COMMAND_MS)
}
