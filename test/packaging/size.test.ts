import { execFileSync } from 'node:child_process'
import { copyFileSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { needingPrograms, programOf } from '../support/cached-program.js'
import { barePath, installEnvironment } from '../support/installing.js'
import { packageTool } from '../support/package-tools.js'
import { bytesBelow, packTarball } from '../support/tarball.js'

const MB = 1_000_000
const DEPENDENCIES = ['fastest-levenshtein', 'upstreamproxy'].map((name) => `node_modules/${name}`)

const tarball = packTarball(t)
const npm = packageTool('npm-11')
const needs = needingPrograms(npm)

t.test('with koffi for this platform, an install takes no more than 6 MB', needs, (t) => {
  const { bytes, packages } = install(t, [])
  t.comment(`${(bytes / MB).toFixed(2)} MB: ${Object.keys(packages).join(', ')}`)
  t.ok(bytes <= 6 * MB, `${bytes} bytes`)
  const koffi = Object.keys(packages).filter((path) => path.includes('koffi'))
  t.same(koffi, [`node_modules/@koromix/koffi-${process.platform}-${process.arch}`])
  t.end()
})

t.test('without optional packages it takes no more than 1.5 MB', needs, (t) => {
  const { bytes, packages } = install(t, ['--omit=optional'])
  t.comment(`${(bytes / MB).toFixed(2)} MB: ${Object.keys(packages).join(', ')}`)
  t.ok(bytes <= 1.5 * MB, `${bytes} bytes`)
  t.same(Object.keys(packages).sort(), DEPENDENCIES)
  t.end()
})

t.test('no package of an install has an install script', needs, (t) => {
  const { packages } = install(t, [])
  // npm's own word for it, taken from each package's manifest, a binding.gyp among its files included.
  t.same(
    Object.entries(packages).filter(([, { hasInstallScript }]) => hasInstallScript),
    [],
  )
  t.end()
})

interface Installed {
  readonly bytes: number
  /** by path; of npm's own lockfile in node_modules */
  readonly packages: Readonly<Record<string, { readonly hasInstallScript?: boolean }>>
}

function install(t: Test, flags: readonly string[]): Installed {
  const folder = mkdtempSync(join(tmpdir(), 'upstreamproxy-size-'))
  t.teardown(() => rmSync(folder, { recursive: true, force: true }))
  copyFileSync(tarball, join(folder, 'upstreamproxy.tgz'))
  const dependencies = { upstreamproxy: 'file:./upstreamproxy.tgz' }
  writeFileSync(join(folder, 'package.json'), JSON.stringify({ private: true, dependencies }))
  const env = installEnvironment(barePath(t, { node: process.execPath }))
  mkdirSync(env['HOME']!, { recursive: true })
  const words = [programOf(npm), 'install', '--no-audit', '--no-fund', ...flags]
  execFileSync(process.execPath, words, { cwd: folder, env, stdio: 'ignore', timeout: 60_000 })
  const modules = join(folder, 'node_modules')
  const { packages } = JSON.parse(readFileSync(join(modules, '.package-lock.json'), 'utf8'))
  return { bytes: bytesBelow(modules), packages }
}
