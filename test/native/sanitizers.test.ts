import { join } from 'node:path'
import t from 'tap'
import { needing, output, ROOT } from './tools.js'

t.test('the C++ holds under the sanitizers and a short fuzzing', needing('clang++'), async (t) => {
  const said = output(process.execPath, [join(ROOT, 'scripts/native-checks.mjs')])
  t.equal(said.match(/: all hold/g)?.length, 4, said)
  t.match(said, /Done \d+ runs/)
})
