// The prebuilt addons, prebuilds/<platform>-<arch>/upstreamproxy.node, from native/ by cmake-js.
//   node scripts/prebuild.mjs              builds both and puts them in their place (after every change of native/)
//   node scripts/prebuild.mjs --sources    prints the hash of what they are made of
//   node scripts/prebuild.mjs --out DIR    builds into DIR/<platform>-<arch>/, to compare: the same compiler gives the same bytes
// Needs cmake, g++ and, for arm64, aarch64-linux-gnu-g++ (Debian: g++-aarch64-linux-gnu). native/prebuilds.json keeps
// what they were made of and by.
import { spawnSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import {
  copyFileSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs'
import { createRequire } from 'node:module'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'

const root = fileURLToPath(new URL('..', import.meta.url))
const CROSS = ['--CDCMAKE_SYSTEM_NAME=Linux', '--CDCMAKE_SYSTEM_PROCESSOR=aarch64']
const TARGETS = [
  { name: 'linux-x64', arch: 'x64', compiler: 'x86_64-linux-gnu-g++', cross: [] },
  { name: 'linux-arm64', arch: 'arm64', compiler: 'aarch64-linux-gnu-g++', cross: CROSS },
]

const { out, sources } = parseArgs({
  options: { out: { type: 'string' }, sources: { type: 'boolean' } },
}).values
if (sources) {
  console.log(sourcesHash())
  process.exit()
}
const compilers = {}
for (const { name, arch, compiler, cross } of TARGETS) {
  compilers[name] = compilerVersion(compiler)
  const built = build(arch, [`--CDCMAKE_CXX_COMPILER=${compiler}`, ...cross])
  const place = join(out ?? join(root, 'prebuilds'), name, 'upstreamproxy.node')
  mkdirSync(dirname(place), { recursive: true })
  copyFileSync(join(built, 'Release/upstreamproxy.node'), place)
  rmSync(built, { recursive: true })
  console.error(`${name}: ${readFileSync(place).length} bytes, by ${compilers[name]}`)
}
if (out === undefined) {
  const record = { sources: sourcesHash(), compilers }
  writeFileSync(join(root, 'native/prebuilds.json'), `${JSON.stringify(record, null, 2)}\n`)
}

function build(arch, definitions) {
  const folder = mkdtempSync(join(tmpdir(), 'upstreamproxy-prebuild-'))
  const cmakeJs = join(
    dirname(createRequire(import.meta.url).resolve('cmake-js/package.json')),
    'bin/cmake-js',
  )
  const words = [cmakeJs, 'compile', '--out', folder, '--arch', arch, '--log-level', 'error', ...definitions]
  const { status, stdout, stderr } = spawnSync(process.execPath, words, { cwd: root, encoding: 'utf8' })
  if (status === 0) return folder
  rmSync(folder, { recursive: true })
  console.error(stdout, stderr)
  process.exit(1)
}

// What it is made of: changes to the comments in it count as well, which is no harm.
function sourcesHash() {
  const hash = createHash('sha256')
  const names = readdirSync(join(root, 'native')).filter((name) => /\.(?:cc|h|map)$/.test(name))
  for (const path of ['CMakeLists.txt', ...names.sort().map((name) => `native/${name}`)])
    hash.update(`${path}\n`).update(readFileSync(join(root, path)))
  return hash.digest('hex')
}

function compilerVersion(compiler) {
  const { stdout, error } = spawnSync(compiler, ['--version'], { encoding: 'utf8' })
  if (error === undefined) return stdout.split('\n', 1)[0]
  console.error(`${compiler} does not run here: ${error.message}`)
  process.exit(1)
}
