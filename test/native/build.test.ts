import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { dirname, join } from 'node:path'
import t, { type Test } from 'tap'
import { buildFolder, needing, offlineOutput, ROOT } from './tools.js'

const cmake = readFileSync(join(ROOT, 'CMakeLists.txt'), 'utf8')
const gyp = readFileSync(join(ROOT, 'binding.gyp'), 'utf8')
const require = createRequire(import.meta.url)
const NODE_PREFIX = dirname(dirname(process.execPath))

t.test('both build systems take the same sources, and all there are', async (t) => {
  const there = readdirSync(join(ROOT, 'native')).filter((name) => name.endsWith('.cc'))
  t.strictSame(
    cmakeList('SOURCES'),
    there.sort().map((name) => `native/${name}`),
  )
  t.strictSame(gypList('sources'), cmakeList('SOURCES'))
})

t.test('both give the compiler and the linker the same flags', async (t) => {
  t.strictSame(gypList('cflags_cc'), cmakeList('COMPILE_OPTIONS'))
  for (const text of [cmake, gyp]) t.equal(text.match(/-mno-outline-atomics/g)?.length, 1, 'on arm64')
  t.strictSame(gypList('defines'), cmakeList('DEFINES'))
  const script = '-Wl,--version-script='
  t.strictSame(
    gypList('ldflags').filter((flag) => !flag.startsWith(script)),
    cmakeList('LINK_OPTIONS'),
  )
  const map = 'native/version-script.map'
  t.match(gyp, `${script}<(module_root_dir)/${map}`)
  t.match(cmake, `${script}\${CMAKE_SOURCE_DIR}/${map}`)
})

t.test('only addon.cc knows Node-API', async (t) => {
  for (const name of readdirSync(join(ROOT, 'native')).filter((name) => /\.(cc|h)$/.test(name))) {
    const knows = /\bnapi_|\bNapi::|<napi|node_api/.test(readFileSync(join(ROOT, 'native', name), 'utf8'))
    t.equal(knows, name === 'addon.cc', name)
  }
})

t.test('cmake-js builds an addon that loads, and fetches nothing', needing('cmake', 'g++'), async (t) => {
  const folder = buildFolder(t)
  const { scripts } = JSON.parse(readFileSync(join(folder, 'package.json'), 'utf8'))
  t.equal(scripts['build:native'], 'cmake-js compile')
  offlineOutput(process.execPath, [binOf('cmake-js', 'bin/cmake-js'), 'compile'], folder)
  assertLoads(t, join(folder, 'build/Release/upstreamproxy.node'))
})

t.test('node-gyp builds an addon that loads, and fetches nothing', needsHeaders(), async (t) => {
  const folder = buildFolder(t)
  const gypBin = binOf('node-gyp', 'bin/node-gyp.js')
  offlineOutput(process.execPath, [gypBin, 'rebuild', `--nodedir=${NODE_PREFIX}`], folder)
  assertLoads(t, join(folder, 'build/Release/upstreamproxy.node'))
})

function needsHeaders(): { skip: string | false } {
  const tools = needing('make', 'g++', 'python3')
  if (tools.skip || existsSync(join(NODE_PREFIX, 'include/node/node_api.h'))) return tools
  return { skip: `no headers of Node below ${NODE_PREFIX}` }
}

function assertLoads(t: Test, path: string): void {
  const addon = require(path) as Record<string, unknown>
  t.strictSame(Object.keys(addon), ['version', 'process', 'framing', 'sockets'])
}

function binOf(packageName: string, bin: string): string {
  return join(dirname(require.resolve(`${packageName}/package.json`)), bin)
}

function cmakeList(name: string): string[] {
  const [, words] = new RegExp(`^set\\(${name}\\n([^)]*)\\)`, 'm').exec(cmake) ?? []
  return words?.trim().split(/\s+/) ?? []
}

function gypList(name: string): string[] {
  const [, items] = new RegExp(`'${name}': \\[\n([^\\]]*)\\]`).exec(gyp) ?? []
  return [...(items ?? '').matchAll(/'([^'\n]+)'/g)].map(([, item]) => item!)
}
