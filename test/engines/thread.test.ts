/** The core of the conformance suite once more, with the relay in a thread of its own: one suite, wherever it runs. */
import t from 'tap'
import { failuresOf } from '../support/failures.js'
import { compiledTest, run } from '../support/test-files.js'

for (const name of ['head', 'ends', 'wire']) {
  t.test(`${name} passes with the relay in a thread of its own`, async (t) => {
    const path = compiledTest(`conformance/${name}`)
    const { status, output } = await run(process.execPath, [path], { CONFORMANCE_THREAD: '1' })
    if (!t.equal(status, 0)) t.comment(failuresOf(output))
  })
}
