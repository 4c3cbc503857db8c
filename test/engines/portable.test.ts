/**
 * The conformance suite once more, with the engine that is not this runtime's own choice: one suite, every engine. (By
 * itself the suite runs with the relay's choice, which is the native engine wherever the addon loads.)
 */
import { readdirSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import t from 'tap'
import { failuresOf } from '../support/failures.js'
import { compiledTest, run } from '../support/test-files.js'

const SUFFIX = '.test.js'
const files = readdirSync(fileURLToPath(new URL('../conformance', import.meta.url)))

for (const file of files.filter((name) => name.endsWith(SUFFIX))) {
  t.test(`${file} passes with the portable engine`, async (t) => {
    const path = compiledTest(`conformance/${file.slice(0, -SUFFIX.length)}`)
    const { status, output } = await run(process.execPath, [path], { CONFORMANCE_ENGINE: 'node' })
    if (!t.equal(status, 0)) t.comment(failuresOf(output))
  })
}
