import { spawnSync } from 'node:child_process'
import {
  copyFileSync,
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { createRequire } from 'node:module'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { fileURLToPath, pathToFileURL } from 'node:url'
import { Worker } from 'node:worker_threads'
import t, { type Test } from 'tap'
import { loadAddon } from '#src/platform/addon.js'
import { within } from '../support/deadline.js'
import { matchWhole } from '../support/match-whole.js'

const PREBUILD = `prebuilds/${process.platform}-${process.arch}/upstreamproxy.node`
const BUILD = 'build/Release/upstreamproxy.node'
const ROOT = fileURLToPath(new URL('../../', import.meta.url))
const OURS = [PREBUILD, BUILD].map((place) => join(ROOT, place)).find((path) => existsSync(path))
// CI has the prebuild of its platform.
const WITH_ADDON = { skip: OURS === undefined && !process.env['CI'] && 'no addon is built here' }

t.test('an absent addon falls through, and is nothing to report', async (t) => {
  t.same(loadAddon(folderOf(t, {})), { broken: [] })
})

t.test('a file that is there and will not load is reported, and falls through', async (t) => {
  const folder = folderOf(t, { [PREBUILD]: 'garbage', [BUILD]: '' })
  const { addon, broken } = loadAddon(folder)
  t.equal(addon, undefined)
  matchWhole(t, broken, [
    { path: join(fileURLToPath(folder), PREBUILD), reason: /^(?:file too short|invalid ELF header)$/ },
    { path: join(fileURLToPath(folder), BUILD), reason: /file too short/ },
  ])
  t.equal(loadAddon(folder), loadAddon(folder), 'looked for once')
})

t.test(
  'init says so in the log, the table why something else serves, and the relay does without',
  async (t) => {
    const folder = folderOf(t, { [PREBUILD]: 'garbage', token: 'token\n' })
    symlinkSync(join(ROOT, 'node_modules'), fileURLToPath(new URL('node_modules', folder)))
    cpSync(join(ROOT, 'dist'), fileURLToPath(new URL('dist', folder)), { recursive: true })
    copyFileSync(join(ROOT, 'package.json'), fileURLToPath(new URL('package.json', folder)))
    const script = `const { initUpstreamProxy } = await import('./dist/index.js')
    const lines = []
    const given = { tokenFile: './not-there', sessionId: 's', log: (line) => lines.push(line) }
    const results = [await initUpstreamProxy(given), await initUpstreamProxy(given)]
    const { capabilities } = await import('./dist/platform/index.js')
    console.log(JSON.stringify({ reasons: results.map(({ reason }) => reason), lines, table: capabilities() }))`
    const env = { CLAUDE_CODE_REMOTE: '1', CCR_UPSTREAM_PROXY_ENABLED: '1', HOME: '/' }
    const told = run(process.execPath, script, { cwd: fileURLToPath(folder), env })
    matchWhole(t, told, {
      reasons: ['ERR_TOKEN_MISSING', 'ERR_TOKEN_MISSING'],
      lines: [
        /warn: addon-broken path=\S+upstreamproxy\.node reason="file too short"/,
        /disabled/,
        /disabled/,
      ],
      table: {
        'non-dumpable': { implementation: 'koffi', why: /addon: \S+upstreamproxy\.node: file too short$/ },
      },
    })
  },
)

t.test('an addon of another package, or of another time, is not taken for ours', async (t) => {
  const koffi = createRequire(import.meta.url).resolve(`@koromix/koffi-linux-${process.arch}`)
  const folder = folderOf(t, {})
  put(folder, PREBUILD, join(koffi, `../linux_${process.arch}/koffi.node`))
  matchWhole(t, loadAddon(folder), {
    addon: undefined,
    broken: [{ reason: /^its interface is .+, and not 2$/ }],
  })
})

t.test('the prebuild comes first; where it is broken, what was built here', WITH_ADDON, async (t) => {
  const first = folderOf(t, { [BUILD]: 'garbage' })
  put(first, PREBUILD, OURS!)
  matchWhole(t, loadAddon(first), { addon: { version: '2' }, path: new RegExp(PREBUILD), broken: [] })
  const second = folderOf(t, { [PREBUILD]: 'garbage' })
  put(second, BUILD, OURS!)
  matchWhole(t, loadAddon(second), {
    addon: { version: '2' },
    path: new RegExp(BUILD),
    broken: [{ path: /./, reason: 'file too short' }],
  })
})

t.test(
  'it loads in worker threads, several at once, and again after they have ended',
  WITH_ADDON,
  async (t) => {
    t.equal(loadAddon().addon?.process?.isDumpable(), true)
    for (let round = 0; round < 3; round += 1) {
      const told = await Promise.all([inWorker(), inWorker(), inWorker()])
      t.same(told, [true, true, true])
    }
    t.equal(loadAddon().addon?.process?.isDumpable(), true)
  },
)

t.test("invariant 9: the addon comes from this package's folder, and from nowhere else", async (t) => {
  const elsewhere = fileURLToPath(folderOf(t, { [PREBUILD]: 'garbage', [BUILD]: 'garbage' }))
  // Beside a runtime of its own.
  const runtime = join(elsewhere, 'node')
  copyFileSync(process.execPath, runtime)
  for (const place of ['upstreamproxy.node', 'prebuilds/upstreamproxy.node', 'build/upstreamproxy.node'])
    put(pathToFileURL(`${elsewhere}/`), place, join(elsewhere, BUILD))
  const variables = [
    'NODE_PATH',
    'PREBUILDS_ONLY',
    'UPSTREAMPROXY_PREBUILD',
    'npm_config_local_prebuilds',
    'INIT_CWD',
  ]
  const env = Object.fromEntries(variables.map((name) => [name, elsewhere]))
  const there = lookupIn(runtime, {
    cwd: elsewhere,
    env: { ...env, LD_LIBRARY_PATH: elsewhere, PATH: elsewhere },
  })
  t.same(there, lookupIn(process.execPath, { cwd: ROOT, env: {} }))
  matchWhole(t, there, { path: OURS ?? '', broken: [] })
  const asked = loadAddon(pathToFileURL(`${elsewhere}/`))
  t.equal(asked.broken.length, 2, 'the experiment can fail: whoever looks there meets garbage')
})

function lookupIn(program: string, options: { cwd: string; env: NodeJS.ProcessEnv }): unknown {
  const script = `const { addon, path = '', broken } = (await import(${JSON.stringify(MODULE)})).loadAddon()
    console.log(JSON.stringify({ version: addon?.version ?? '', path, broken }))`
  return run(program, script, options)
}

function run(program: string, script: string, options: { cwd: string; env: NodeJS.ProcessEnv }): unknown {
  const variables = Object.entries(options.env).map(([name, value]) => `${name}=${value}`)
  // Through env(1): tap adds variables of its own to whatever is spawned.
  const words = ['-i', ...variables, program, '--input-type=module', '-e', script]
  const child = spawnSync('/usr/bin/env', words, { cwd: options.cwd, encoding: 'utf8' })
  if (child.status !== 0) throw new Error(child.stderr)
  return JSON.parse(child.stdout)
}

function inWorker(): Promise<unknown> {
  const script = `import(${JSON.stringify(MODULE)}).then(({ loadAddon }) =>
    require('worker_threads').parentPort.postMessage(loadAddon().addon.process.isDumpable()))`
  const worker = new Worker(script, { eval: true })
  const told = new Promise((resolve, reject) => {
    let value: unknown
    worker.on('message', (message) => {
      value = message
    })
    worker.on('error', reject)
    worker.on('exit', () => resolve(value))
  })
  return within(told, 'the worker')
}

// A folder of its own each time: what was found in one is remembered.
function folderOf(t: Test, files: Readonly<Record<string, string>>): URL {
  const folder = mkdtempSync(join(tmpdir(), 'upstreamproxy-addon-'))
  t.teardown(() => rmSync(folder, { recursive: true }))
  for (const [place, content] of Object.entries(files)) {
    const path = join(folder, place)
    mkdirSync(dirname(path), { recursive: true })
    writeFileSync(path, content)
  }
  return pathToFileURL(`${folder}/`)
}

function put(folder: URL, place: string, source: string): void {
  const path = join(fileURLToPath(folder), place)
  mkdirSync(dirname(path), { recursive: true })
  copyFileSync(source, path)
}

const MODULE = new URL('../../dist/platform/addon.js', import.meta.url).href
