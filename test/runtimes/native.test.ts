/**
 * The addon's own suites on every other Node. What it is made of depends on the runtime more than anything else does:
 * handles of libuv by a hand-written ABI, the end of an environment, what is collected when.
 */
import t from 'tap'
import { needingPrograms, programOf } from '../support/cached-program.js'
import { failuresOf } from '../support/failures.js'
import { RUNTIME_NAMES, runtimeProgram } from '../support/runtimes.js'
import { compiledTest, run } from '../support/test-files.js'

const SUITES = [
  'native/socket-writer',
  'native/socket-writer-ends',
  'native/socket-writer-addon',
  'native/stream-socket',
  'native/stream-socket-ends',
  'native/gathering',
  'native/loopback-listener',
  'native/framing',
]

for (const name of RUNTIME_NAMES.filter((each) => each !== 'bun')) {
  const runtime = runtimeProgram(name)
  t.test(
    `the addon's suites pass on ${name}`,
    { ...needingPrograms(runtime), timeout: 300_000 },
    async (t) => {
      for (const suite of SUITES) {
        const extra = { NATIVE_IMPLEMENTATION: 'addon' }
        const { status, output } = await run(programOf(runtime), [compiledTest(suite)], extra)
        t.match(output, /^# Subtest: /m, `${suite} has tests`)
        t.notMatch(output, /# SKIP/, `${suite} skips nothing`)
        if (!t.equal(status, 0, `${suite} passes`)) t.comment(failuresOf(output))
      }
    },
  )
}
