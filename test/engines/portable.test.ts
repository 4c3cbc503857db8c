/**
 * The conformance suite once more, with the engine that is not this runtime's own choice: one suite, every engine. (By
 * itself the suite runs with the relay's choice, which is the native engine wherever the addon loads.)
 */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { readdirSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import t from 'tap'
import { failuresOf } from '../support/failures.js'

const FOLDER = fileURLToPath(new URL('../conformance', import.meta.url))

for (const file of readdirSync(FOLDER).filter((name) => name.endsWith('.test.js'))) {
  t.test(`${file} passes with the portable engine`, async (t) => {
    const { NODE_OPTIONS: _, ...env } = process.env
    const child = spawn(process.execPath, [join(FOLDER, file)], {
      env: { ...env, CONFORMANCE_ENGINE: 'node', TAP: '1' },
      stdio: ['ignore', 'pipe', 'pipe'],
    })
    let output = ''
    child.stdout.on('data', (bytes) => (output += bytes))
    child.stderr.on('data', (bytes) => (output += bytes))
    const [status] = await once(child, 'close')
    if (!t.equal(status, 0)) t.comment(failuresOf(output))
  })
}
