/** Runs the suite of Framing without a test runner, for the implementation that its argument names. */
import { FRAMING_SUITE } from './framing-suite.js'
import { FRAMINGS, present } from './implementations.js'

const implementation = FRAMINGS.find(({ name }) => name === process.argv[2])
if (implementation === undefined) throw new Error('name an implementation')
const framing = present(implementation.load())
for (const [title, run] of FRAMING_SUITE) {
  try {
    run(framing)
    console.log(`ok: ${title}`)
  } catch (error) {
    console.log(`not ok: ${title}`)
    console.error(error)
  }
}
