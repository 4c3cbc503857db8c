import { readdirSync, readFileSync, statSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { needing, output, ROOT, temporaryFolder } from './tools.js'

const NAMES = ['linux-x64', 'linux-arm64']
const PREBUILD = join(ROOT, 'scripts/prebuild.mjs')
const MAX_BYTES = 150 * 1000
const EXPORTS = ['napi_register_module_v1', 'node_api_module_get_api_version_v1']
// What both C libraries have under this very name, and every Node since 20.
const FROM_C = [
  '__errno_location',
  'abort',
  'accept4',
  'bind',
  'close',
  'fcntl',
  'free',
  'getsockname',
  'getsockopt',
  'listen',
  'malloc',
  'memcpy',
  'memmove',
  'memset',
  'open',
  'openat',
  'prctl',
  'read',
  'realloc',
  'recv',
  'sendmsg',
  'setsockopt',
  'shutdown',
  'sigaction',
  'socket',
  'strlen',
  'strstr',
  'syscall',
]

t.test('there is a prebuild for each architecture, and none is large', async (t) => {
  t.strictSame(readdirSync(join(ROOT, 'prebuilds')).sort(), [...NAMES].sort())
  for (const name of NAMES) t.ok(statSync(pathOf(name)).size < MAX_BYTES, name)
})

t.test('a prebuild needs no library, and only symbols that every libc has', needing('readelf'), async (t) => {
  for (const name of NAMES) {
    const dynamic = output('readelf', ['--dynamic', '--wide', pathOf(name)])
    t.match(dynamic, 'BIND_NOW', `${name}: what is missing is missed at load`)
    t.notMatch(dynamic, /NEEDED|VERNEED|RPATH|RUNPATH|TEXTREL/, name)
    const segments = output('readelf', ['--program-headers', '--wide', pathOf(name)])
    t.match(segments, /GNU_STACK .* RW /, `${name}: no executable stack`)

    const symbols = dynamicSymbols(pathOf(name))
    const defined = symbols
      .filter(({ bind, section }) => bind !== 'LOCAL' && section !== 'UND')
      .map((symbol) => symbol.name)
    t.strictSame(defined.sort(), EXPORTS, name)
    const undefinedOnes = symbols.filter(({ section }) => section === 'UND')
    const strong = undefinedOnes.filter(({ bind }) => bind === 'GLOBAL').map((symbol) => symbol.name)
    t.strictSame(
      strong.filter((symbol) => !symbol.startsWith('napi_') && !FROM_C.includes(symbol)),
      [],
      name,
    )
    const weak = undefinedOnes.filter(({ bind }) => bind === 'WEAK').map((symbol) => symbol.name)
    t.ok(weak.length > 0, 'libuv is looked up')
    t.strictSame(
      weak.filter((symbol) => !symbol.startsWith('uv_')),
      [],
      name,
    )
  }
})

t.test('the prebuilds are made of these sources', async (t) => {
  const hash = output(process.execPath, [PREBUILD, '--sources']).trim()
  t.equal(record().sources, hash, 'after a change of native/: node scripts/prebuild.mjs')
})

t.test('the same compiler makes the same bytes', needsTheCompilers(), async (t) => {
  const folder = temporaryFolder(t)
  output(process.execPath, [PREBUILD, '--out', folder])
  for (const name of NAMES) {
    const made = readFileSync(join(folder, name, 'upstreamproxy.node'))
    t.ok(made.equals(readFileSync(pathOf(name))), `${name} is what is committed`)
  }
})

interface Record {
  readonly sources: string
  readonly compilers: Readonly<{ [name: string]: string }>
}

function record(): Record {
  return JSON.parse(readFileSync(join(ROOT, 'native/prebuilds.json'), 'utf8'))
}

// In CI a compiler other than the one that is recorded fails, by other bytes: then it is time to build them anew.
function needsTheCompilers(): { skip: string | false } {
  const tools = needing('cmake', 'x86_64-linux-gnu-g++', 'aarch64-linux-gnu-g++')
  if (tools.skip || process.env['CI']) return tools
  const { compilers } = record()
  const others = Object.entries({ 'linux-x64': 'x86_64', 'linux-arm64': 'aarch64' })
    .map(([name, target]) => [
      compilers[name],
      output(`${target}-linux-gnu-g++`, ['--version']).split('\n')[0],
    ])
    .filter(([recorded, here]) => recorded !== here)
  return { skip: others.length > 0 && `made by ${others[0]![0]}, and here is ${others[0]![1]}` }
}

function pathOf(name: string): string {
  return join(ROOT, 'prebuilds', name, 'upstreamproxy.node')
}

// `   Num:    Value          Size Type    Bind   Vis      Ndx Name`
function dynamicSymbols(path: string) {
  const lines = output('readelf', ['--dyn-syms', '--wide', path]).split('\n')
  const rows = lines.map((line) => line.trim().split(/\s+/)).filter((row) => /^\d+:$/.test(row[0]!) && row[7])
  return rows.map((row) => ({ bind: row[4], section: row[6], name: row[7]! }))
}
