/** What the documents say of speed is what was measured: the results file, and nothing else. */
import { spawnSync } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import t from 'tap'
import { matchWhole } from '../support/match-whole.js'
import { goals, ratio, ratiosTable } from './harness.js'

const ROOT = fileURLToPath(new URL('../../', import.meta.url))

t.test('tables, ratios and picture are those of the results file', async (t) => {
  const { status, stderr } = spawnSync(process.execPath, ['bench/readme.mjs', '--check'], {
    cwd: ROOT,
    encoding: 'utf8',
  })
  t.equal(status, 0, stderr)
})

t.test('the README quotes ratios, and no figure that belongs to a machine', async (t) => {
  const quoted = readFileSync(`${ROOT}README.md`, 'utf8').split(/<!-- ratios:(?:begin|end) -->/)[1] ?? ''
  const cells = quoted
    .split('\n')
    .slice(4)
    .flatMap((line) => line.split('|').slice(2, -1))
  t.ok(
    cells.some((cell) => cell.trim() !== ''),
    'there are some',
  )
  for (const cell of cells) t.match(cell, /^ (\d+\.\d\d)? $/)
})

t.test('a ratio is taken round by round, and its median is what counts', async (t) => {
  // The third round was a bad one for both: the medians of each alone would say 1.5.
  const { median, ends, count } = ratio([1, 2, 30], [2, 2, 20])
  t.same({ median, ends, count }, { median: 1, ends: [0.5, 1.5], count: 3 })
})

t.test('a goal is met at its bound and not above it; what was not measured is no goal', async (t) => {
  const results = (native: number, floor: number) => ({
    cases: [{ id: 'bulk/wss/up', figures: { native: { cpu: [native] }, floor: { cpu: [floor] } } }],
  })
  matchWhole(t, goals(results(11, 10)), [
    { id: 'bulk/wss/up', most: 1.1, met: true, figure: { median: 1.1 } },
  ])
  matchWhole(t, goals(results(12, 10)), [{ met: false }])
  t.same(goals({ cases: [] }), [])
})

t.test('the README’s table has a column for who was measured, and none for who was not', async (t) => {
  const figures = { native: { cpu: [1] }, naive: { cpu: [4] } }
  const table: string = ratiosTable({ cases: [{ id: 'bulk/wss/up', figures }] })
  t.equal(table.split('\n')[0], '|  | native ÷ `ws` and `node:net` |')
  t.match(table, '| 0.25 |')
})
