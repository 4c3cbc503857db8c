/** The core of the conformance suite once more, with the relay in a thread of its own: one suite, wherever it runs. */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { fileURLToPath } from 'node:url'
import t from 'tap'
import { failuresOf } from '../support/failures.js'

for (const name of ['head', 'ends', 'wire']) {
  t.test(`${name} passes with the relay in a thread of its own`, async (t) => {
    const { NODE_OPTIONS: _, ...env } = process.env
    const file = fileURLToPath(new URL(`../conformance/${name}.test.js`, import.meta.url))
    const child = spawn(process.execPath, [file], {
      env: { ...env, CONFORMANCE_THREAD: '1', TAP: '1' },
      stdio: ['ignore', 'pipe', 'pipe'],
    })
    let output = ''
    child.stdout.on('data', (bytes) => (output += bytes))
    child.stderr.on('data', (bytes) => (output += bytes))
    const [status] = await once(child, 'close')
    if (!t.equal(status, 0)) t.comment(failuresOf(output))
  })
}
