/**
 * A process of the same user can leave packages in the folders where Node looks last. None of them may run in ours,
 * whatever of ours is missing.
 */
import { spawnSync } from 'node:child_process'
import {
  chmodSync,
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  realpathSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import t, { type Test } from 'tap'
import { packageFolder, requireFromTree, strayPackage } from '#src/platform/own-tree.js'
import { runtimes } from '../hardening/host.js'

const ROOT = fileURLToPath(new URL('../../', import.meta.url))
const OF_PLATFORM = `@koromix/koffi-linux-${process.arch}`
const LINUX = process.platform === 'linux' ? {} : { skip: 'of Linux, where koffi serves' }
const INSTALLED: readonly (readonly [installed: readonly string[], why: RegExp])[] = [
  [[], new RegExp(`${OF_PLATFORM}: not installed; koffi: not installed`)],
  [[OF_PLATFORM], new RegExp(`^${OF_PLATFORM} 3\\.3\\.4: optional dependency for this platform`)],
  [[OF_PLATFORM, 'koffi'], new RegExp(`^${OF_PLATFORM} 3\\.3\\.4: optional dependency for this platform`)],
  [['koffi'], /koffi: it would load \S+, which is not installed beside it/],
]

for (const [runtime, program] of runtimes({ bun: true })) {
  t.test(`invariant 9: packages in Node's global folders do not run, on ${runtime}`, LINUX, async (t) => {
    for (const [installed, why] of INSTALLED) {
      const { folder, env, ran } = checkoutOf(t, installed)
      const { stdout, stderr, status } = spawn(
        program,
        [join(folder, 'dist/cli.js'), '--version', '--json'],
        env,
      )
      const what = `beside it: ${installed.join(' ') || 'nothing'}`
      t.equal(status, 0, stderr)
      t.equal(ran(), false, what)
      if (runtime !== 'bun') t.match(JSON.parse(stdout).capabilities['non-dumpable'].why, why, what)
      const there = join(folder, 'dist/there.cjs')
      for (const name of ['koffi', OF_PLATFORM].filter((name) => !installed.includes(name))) {
        writeFileSync(there, `try { require(${JSON.stringify(name)}) } catch {}`)
        spawn(program, [there], env)
        t.equal(ran(), true, `the experiment can fail: ${name} is found by whoever asks Node`)
      }
    }
  })
}

t.test('a package is the nearest of the node_modules folders above, and nothing below one', async (t) => {
  const folder = t.testdir({
    node_modules: {
      far: { 'index.js': `module.exports = 'far'` },
      near: { 'index.js': `module.exports = 'not this'` },
      asking: {
        'index.js': '',
        node_modules: { near: { 'index.js': `module.exports = 'near'` }, empty: {} },
      },
      node_modules: { hidden: { 'index.js': '' } },
    },
  })
  const from = join(folder, 'node_modules/asking/index.js')
  t.equal(requireFromTree('far', from), 'far')
  t.equal(requireFromTree('near', from), 'near')
  t.equal(packageFolder('hidden', from), undefined)
  t.throws(() => requireFromTree('hidden', from), { code: 'MODULE_NOT_FOUND' })
  t.equal(strayPackage('near', from), undefined)
  t.equal(strayPackage('hidden', from), undefined, 'Node finds none either')
})

interface Checkout {
  readonly folder: string
  readonly env: NodeJS.ProcessEnv
  /** whether anything that was planted has run since it was last asked */
  ran(): boolean
}

// This package without its addon, with some of its optional packages, in a home where others are planted.
function checkoutOf(t: Test, installed: readonly string[]): Checkout {
  const place = realpathSync(mkdtempSync(join(tmpdir(), 'upstreamproxy-tree-')))
  t.teardown(() => rmSync(place, { recursive: true }))
  const folder = join(place, 'app')
  cpSync(join(ROOT, 'dist'), join(folder, 'dist'), { recursive: true })
  cpSync(join(ROOT, 'package.json'), join(folder, 'package.json'))
  for (const name of installed) {
    const to = join(folder, 'node_modules', name)
    cpSync(join(ROOT, 'node_modules', name), to, {
      recursive: true,
      filter: (path) => !/\/(?:doc|vendor)$/.test(path),
    })
  }
  mkdirSync(join(folder, 'node_modules'), { recursive: true })
  const name = 'fastest-levenshtein'
  symlinkSync(join(ROOT, 'node_modules', name), join(folder, 'node_modules', name))
  const marker = join(place, 'ran')
  const folders = ['.node_modules', '.node_libraries', 'node-path'].map((name) => join(place, name))
  for (const global of folders) {
    for (const name of ['koffi', OF_PLATFORM]) {
      const file = join(global, name, 'index.js')
      mkdirSync(dirname(file), { recursive: true })
      writeFileSync(
        file,
        `require('fs').writeFileSync(${JSON.stringify(marker)}, ''); throw new Error('planted')`,
      )
    }
  }
  chmodSync(place, 0o755)
  return {
    folder,
    env: { HOME: place, NODE_PATH: folders[2], PATH: '/usr/bin:/bin' },
    ran() {
      const found = existsSync(marker)
      rmSync(marker, { force: true })
      return found
    },
  }
}

function spawn(program: string, args: readonly string[], env: NodeJS.ProcessEnv) {
  const variables = Object.entries(env).map(([name, value]) => `${name}=${value}`)
  // Through env(1): tap adds variables of its own to whatever is spawned.
  return spawnSync('/usr/bin/env', ['-i', ...variables, program, ...args], {
    encoding: 'utf8',
    timeout: 30_000,
  })
}
