/**
 * The core of the suite on every other runtime. On other Nodes the test files themselves run there; under Bun, which
 * tap does not run on, the relay process of the conformance suite does.
 */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { fileURLToPath } from 'node:url'
import t from 'tap'
import { RUNTIME_NAMES, type RuntimeName, runtimeProgram } from '../support/runtimes.js'

// What touches the runtime: sockets, TLS, processes, files. The pure parts are the same everywhere.
const CORE = ['conformance/head', 'conformance/ends', 'conformance/wire', 'init']
const CONFORMANCE = CORE.filter((name) => name.startsWith('conformance/'))

for (const name of RUNTIME_NAMES) {
  const runtime = runtimeProgram(name)
  // In CI the runtimes are promised: a missing one fails.
  const skip = 'absent' in runtime && !process.env['CI'] ? runtime.absent : false
  t.test(`the core passes on ${name}`, { skip, timeout: 300_000 }, async (t) => {
    if ('absent' in runtime) throw new Error(runtime.absent)
    for (const file of name === 'bun' ? CONFORMANCE : CORE) {
      const { status, output } = await runTestFile(name, runtime.program, file)
      if (!t.equal(status, 0, `${file} passes`)) t.comment(failuresOf(output))
    }
  })
}

async function runTestFile(name: RuntimeName, program: string, file: string) {
  const path = fileURLToPath(new URL(`../${file}.test.js`, import.meta.url))
  // The runner's own wiring must not reach another runtime.
  const { NODE_OPTIONS: _, ...env } = process.env
  const [command, extra] =
    name === 'bun' ? [process.execPath, { CONFORMANCE_RUNTIME: program }] : [program, {}]
  const child = spawn(command, [path], {
    env: { ...env, ...extra, TAP: '1' },
    stdio: ['ignore', 'pipe', 'pipe'],
  })
  let output = ''
  child.stdout.on('data', (bytes) => (output += bytes))
  child.stderr.on('data', (bytes) => (output += bytes))
  const [status] = await once(child, 'close')
  return { status, output }
}

function failuresOf(output: string): string {
  const lines = output.split('\n')
  return lines.filter((line) => /^\s*not ok|Error/.test(line)).join('\n') || output.slice(-2000)
}
