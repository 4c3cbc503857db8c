/** The suite of Framing, for every implementation, on Node and under Bun. */
import { spawnSync } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import t from 'tap'
import { runtimeProgram } from '../support/runtimes.js'
import { FRAMING_SUITE } from './framing-suite.js'
import { FRAMINGS, present, skipping } from './implementations.js'

for (const { name, load } of FRAMINGS) {
  const loaded = load()
  t.test(`framing by ${name}`, skipping(loaded), async (t) => {
    const framing = present(loaded)
    for (const [title, run] of FRAMING_SUITE) {
      await t.test(title, async (t) => {
        run(framing)
        t.pass('holds')
      })
    }
  })
}

const bun = runtimeProgram('bun')
// It is the same Bun whichever Node asks it.
const askBun = process.env['NATIVE_IMPLEMENTATION'] === undefined
for (const { name } of askBun ? FRAMINGS : []) {
  const skip = 'absent' in bun && !process.env['CI'] ? bun.absent : false
  t.test(`framing by ${name} under Bun`, { skip }, async (t) => {
    if ('absent' in bun) throw new Error(bun.absent)
    const program = fileURLToPath(new URL('framing-program.js', import.meta.url))
    const { stdout, stderr } = spawnSync(bun.program, [program, name], { encoding: 'utf8', timeout: 120_000 })
    t.equal(stdout, `${FRAMING_SUITE.map(([title]) => `ok: ${title}`).join('\n')}\n`, stderr)
  })
}
