/** `npm run bench` as a command: it teaches, refuses what it does not know, and writes down what it measured. */
import { spawnSync } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import t from 'tap'
import { matchWhole } from '../support/match-whole.js'
import { missingTools } from './harness.js'

const ROOT = fileURLToPath(new URL('../../', import.meta.url))
const RUN_MS = 120_000
// In CI the tools are promised.
const needs = process.env['CI'] ? {} : { skip: missingTools() ?? false }

t.test('--help names scenarios, participants and options', async (t) => {
  const { status, stdout } = bench('--help')
  t.equal(status, 0)
  for (const word of ['bulk', 'idle', 'setup', 'native', 'naive', '--pairs', '--json']) t.match(stdout, word)
})

t.test('what it does not know is refused before anything is measured, with what there is', async (t) => {
  for (const [args, said] of [
    [['--scenario', 'nope'], /no scenario nope: there are .*bulk/],
    [['--participants', 'node,nope'], /no participant nope: there are .*native/],
    [['--pairs', 'x'], /a number from 1 on/],
    [['--case', 'nope'], /no case has nope/],
    [['--nope'], /--nope/],
  ] as const) {
    const { status, stdout, stderr } = bench(...args)
    t.equal(status, 64, args.join(' '))
    t.equal(stdout, '')
    t.match(stderr, said)
  }
})

t.test('a run prints tables and goals, and writes every round down', needs, async (t) => {
  const folder = mkdtempSync(join(tmpdir(), 'upstreamproxy-bench-'))
  t.teardown(() => rmSync(folder, { recursive: true, force: true }))
  const json = join(folder, 'results.json')
  const only = [
    '--quick',
    '--scenario',
    'bulk',
    '--case',
    'ws/up',
    '--participants',
    'node,copy',
    '--pairs',
    '2',
  ]
  const { status, stdout, stderr } = bench(...only, '--json', json)
  t.equal(status, 0, stderr)
  t.match(stdout, '| ws, up | C copy loop |')
  t.match(stdout, '## goals')
  const { cases } = JSON.parse(readFileSync(json, 'utf8'))
  const one = cases.find(({ id }: { id: string }) => id === 'bulk/ws/up')
  for (const name of ['node', 'copy'])
    matchWhole(t, one.figures[name], { cpu: [Number, Number], throughput: [Number, Number] })
})

function bench(...args: readonly string[]) {
  return spawnSync(process.execPath, ['bench/run.mjs', ...args], {
    cwd: ROOT,
    encoding: 'utf8',
    timeout: RUN_MS,
  })
}
