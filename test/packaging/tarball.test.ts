import { spawnSync } from 'node:child_process'
import { readFileSync, statSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { type CachedProgram, needingPrograms, programOf } from '../support/cached-program.js'
import { packageTool } from '../support/package-tools.js'
import { CHECKOUT, filesBelow, packTarball, unpackTarball } from '../support/tarball.js'

const PUBLINT = packageTool('publint')
const ATTW = packageTool('attw')
const tarball = packTarball(t)
const unpacked = unpackTarball(tarball)
const packed = filesBelow(unpacked)
const manifest = JSON.parse(readFileSync(join(unpacked, 'package.json'), 'utf8'))

t.test('what is packed is what the sources compile to, two addons, and four files about it', (t) => {
  const modules = filesBelow(join(CHECKOUT, 'src')).filter((file) => file.endsWith('.ts'))
  const compiled = modules.flatMap((file) => [file.replace(/\.ts$/, '.js'), file.replace(/\.ts$/, '.d.ts')])
  const expected = [
    ...compiled.map((file) => `dist/${file}`),
    'prebuilds/linux-arm64/upstreamproxy.node',
    'prebuilds/linux-x64/upstreamproxy.node',
    'CHANGELOG.md',
    'LICENSE',
    'README.md',
    'package.json',
  ]
  // Where this differs in dist: what a source left behind that is gone (remove dist and build).
  t.same(packed, expected.sort())
  for (const file of packed) t.not(statSync(join(unpacked, file)).size, 0, `${file} is not empty`)
  t.end()
})

t.test(
  'the addons that are packed are the ones of this checkout, and ELF files of their architecture',
  (t) => {
    for (const [platform, machine] of Object.entries({ 'linux-x64': 62, 'linux-arm64': 183 })) {
      const file = `prebuilds/${platform}/upstreamproxy.node`
      const bytes = readFileSync(join(unpacked, file))
      t.ok(bytes.equals(readFileSync(join(CHECKOUT, file))), `${file} as it is here`)
      t.equal(bytes.subarray(0, 4).toString('latin1'), '\x7fELF')
      t.equal(bytes.readUInt16LE(18), machine, `e_machine of ${file}`)
    }
    t.end()
  },
)

t.test('nothing in the manifest makes a package manager compile, or run anything, at install', (t) => {
  t.equal(manifest.gypfile, false)
  for (const name of [
    'preinstall',
    'install',
    'postinstall',
    'prepare',
    'prepublish',
    'preprepare',
    'postprepare',
  ])
    t.notOk(manifest.scripts[name], `no script ${name}`)
  t.same(
    packed.filter((file) => /\.gypi?$|CMakeLists|\.(?:cc|h|c|cpp)$/.test(file)),
    [],
  )
  t.end()
})

t.test('koffi comes as pinned parts without scripts; its main package only where the user has it', (t) => {
  t.match(manifest.optionalDependencies, { '@koromix/koffi-linux-x64': /^\d+\.\d+\.\d+$/ })
  t.match(manifest.optionalDependencies, { '@koromix/koffi-linux-arm64': /^\d+\.\d+\.\d+$/ })
  t.ok(manifest.peerDependencies.koffi)
  t.same(manifest.peerDependenciesMeta.koffi, { optional: true })
  t.notOk(manifest.dependencies.koffi)
  t.end()
})

t.test('the licence is packed and named', (t) => {
  t.equal(manifest.license, 'MIT')
  t.match(readFileSync(join(unpacked, 'LICENSE'), 'utf8'), /MIT License/)
  t.end()
})

t.test('publint finds nothing to say about what is packed', needingPrograms(PUBLINT), (t) => {
  t.match(judge(PUBLINT, ['run', tarball, '--strict']), { status: 0, stdout: /All good!/ })
  t.end()
})

t.test('types resolve for whoever imports what is packed (arethetypeswrong)', needingPrograms(ATTW), (t) => {
  // ESM alone: a require() of it gets the same module on every Node that `engines` allows, and TypeScript knows that
  // only of some; the profile leaves this out.
  const { status, stdout, stderr } = judge(ATTW, [tarball, '--profile', 'esm-only', '--format', 'json'])
  t.equal(status, 0, stderr)
  const { entrypoints, problems } = JSON.parse(stdout).analysis
  t.same(Object.keys(entrypoints).sort(), ['.', './package.json', './wire'])
  const found = Object.values(problems).flat() as { resolutionKind?: string }[]
  t.same(
    found.filter(({ resolutionKind = '' }) => !['node10', 'node16-cjs'].includes(resolutionKind)),
    [],
  )
  t.end()
})

function judge(tool: CachedProgram, args: readonly string[]) {
  return spawnSync(process.execPath, [programOf(tool), ...args], {
    encoding: 'utf8',
    // The runner's own loader is not for this program.
    env: { PATH: process.env['PATH'], HOME: process.env['HOME'], NO_COLOR: '1' },
    timeout: 60_000,
  })
}
