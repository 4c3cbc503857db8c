// `npm test [-- FILTER…]`: sets up, checks style, then runs the tests whose path contains a FILTER (all without
// one). Ends with tap's own summary line and its exit status.
import { spawnSync } from 'node:child_process'
import { existsSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { root, run, setUp } from './setup.mjs'

setUp()
const filters = process.argv.slice(2)
if (filters.length === 0)
  run(process.execPath, [join(root, 'node_modules/@biomejs/biome/bin/biome'), 'ci', '--error-on-warnings'])

const files = [...compiledTests('test', 'dist-test'), ...compiledTests('gateway/test', 'gateway/dist-test')]
const chosen = files.filter((file) => filters.length === 0 || filters.some((filter) => file.includes(filter)))
if (chosen.length === 0) {
  console.error(`no test file matches ${filters.join(' or ')}`)
  process.exit(1)
}
const tap = join(root, 'node_modules/tap/dist/esm/run.mjs')
// tap compiles itself for the plugins of .taprc. Left to its first run after an install, it does so and then goes on
// with the plugins from before, whose TypeScript loader does not know TypeScript 7: every test of that run fails.
const builtFor = join(root, 'node_modules/.tap-built-for')
const plugins = readFileSync(join(root, '.taprc'), 'utf8')
if (!existsSync(builtFor) || readFileSync(builtFor, 'utf8') !== plugins) {
  run(process.execPath, [tap, 'build'])
  writeFileSync(builtFor, plugins)
}
const { status } = spawnSync(process.execPath, [tap, ...chosen], { cwd: root, stdio: 'inherit' })
process.exit(status ?? 1)

// From the sources, not from what is compiled: a deleted test's output may still lie there.
function compiledTests(sources, compiled) {
  return readdirSync(join(root, sources), { recursive: true })
    .map(String)
    .filter((name) => name.endsWith('.test.ts'))
    .map((name) => join(compiled, name.replace(/\.ts$/, '.js')))
}
