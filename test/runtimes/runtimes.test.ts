/**
 * The core of the suite on every other runtime. On other Nodes the test files themselves run there; under Bun, which
 * tap does not run on, the relay process of the conformance suite does. And on each, this one included, the addon loads.
 */
import { fileURLToPath } from 'node:url'
import t, { type Test } from 'tap'
import { needingPrograms, programOf } from '../support/cached-program.js'
import { failuresOf } from '../support/failures.js'
import { RUNTIME_NAMES, type RuntimeName, runtimeProgram } from '../support/runtimes.js'
import { compiledTest, run } from '../support/test-files.js'

// What touches the runtime: sockets, TLS, processes, files. The pure parts are the same everywhere.
const CORE = ['conformance/head', 'conformance/ends', 'conformance/wire', 'init']
const CONFORMANCE = CORE.filter((name) => name.startsWith('conformance/'))

for (const name of RUNTIME_NAMES) {
  const runtime = runtimeProgram(name)
  const needs = { ...needingPrograms(runtime), timeout: 300_000 }
  t.test(`the core passes on ${name}`, needs, async (t) => {
    for (const file of name === 'bun' ? CONFORMANCE : CORE) {
      const { status, output } = await runTestFile(name, programOf(runtime), file)
      if (!t.equal(status, 0, `${file} passes`)) t.comment(failuresOf(output))
    }
  })
  t.test(`the addon loads on ${name}`, needs, (t) => assertAddon(t, programOf(runtime)))
}

t.test('the addon loads on the Node of these tests', (t) => assertAddon(t, process.execPath))

async function assertAddon(t: Test, program: string) {
  const cli = fileURLToPath(new URL('../../dist/cli.js', import.meta.url))
  const { status, output } = await run(program, [cli, '--version', '--json'])
  t.equal(status, 0, output)
  t.match(JSON.parse(output).capabilities['non-dumpable'], { implementation: 'addon', why: /\.node \(/ })
}

async function runTestFile(name: RuntimeName, program: string, file: string) {
  const path = compiledTest(file)
  return name === 'bun'
    ? run(process.execPath, [path], { CONFORMANCE_RUNTIME: program })
    : run(program, [path])
}
