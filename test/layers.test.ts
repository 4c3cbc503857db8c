import { readdirSync, readFileSync } from 'node:fs'
import t from 'tap'
import { usesOf } from './layers/imports.js'
import { complaintsAbout } from './layers/rules.js'
import { matchWhole } from './support/match-whole.js'

t.test('every module imports only from the layers below it', async (t) => {
  const sources = new Map([...sourcesUnder('src'), ...sourcesUnder('gateway/src')])
  t.ok(sources.has('src/errors.ts') && sources.has('src/wire/index.ts'), 'the sources are found')
  t.strictSame(complaintsAbout(sources), [])
})

t.test('an import is found in every form that runs, and in no other', async (t) => {
  const found: [string, string[]][] = [
    [`import a from './x.js'`, ['./x.js']],
    [`import * as a from "./x.js"`, ['./x.js']],
    [`import { a, type B } from './x.js'`, ['./x.js']],
    [`import { type B } from './x.js'`, ['./x.js']],
    [`import a, { b } from './x.js'`, ['./x.js']],
    [`import './x.js'`, ['./x.js']],
    [`import type from './x.js'`, ['./x.js']],
    [`import type, { a } from './x.js'`, ['./x.js']],
    [`import {\n  a,\n  // from './no.js'\n  b,\n} from './x.js' with { type: 'json' }`, ['./x.js']],
    [`export * from './x.js'`, ['./x.js']],
    [`export * as a from './x.js'`, ['./x.js']],
    [`export { a } from './x.js'`, ['./x.js']],
    [`const a = await import('./x.js')`, ['./x.js']],
    ['const a = await import(`./x.js`)', ['./x.js']],
    [`const a = require('./x.js')`, ['./x.js']],
    [`const a = \`\${await import('./x.js')}\``, ['./x.js']],
    [`const a = \`}\${\`\${import('./x.js')}\`}{\`; import './y.js'`, ['./x.js', './y.js']],
    [`const r = /[/'"]/; import './x.js'`, ['./x.js']],
    [`const q = a / b / c; import './x.js'`, ['./x.js']],
    [`import './x.js'; import './y.js'`, ['./x.js', './y.js']],
    [`import type { A } from './x.js'`, []],
    [`import type A from './x.js'`, []],
    [`import type * as A from './x.js'`, []],
    [`export type { A } from './x.js'`, []],
    [`export type * from './x.js'`, []],
    [`export { a }`, []],
    [`export const from = './x.js'`, []],
    [`export type A = string; const b = { from: './x.js' }`, []],
    [`// import './x.js'`, []],
    [`/* import './x.js' */`, []],
    [`const a = "import './x.js'"`, []],
    ['const a = `import "./x.js"`', []],
    [`const a = import.meta.url`, []],
    [`a.import('./x.js')`, []],
    [`const a = 'it\\'s'; const b = "import './x.js'"`, []],
  ]
  for (const [source, expected] of found) t.strictSame(usesOf(source).imports, expected, source)
  t.strictSame(
    usesOf('await import(name)').imports,
    [undefined],
    'a computed name is one that nobody can check',
  )
  t.strictSame(usesOf(`await import('./' + name)`).imports, [undefined])
})

t.test('a use of the process’s own doors is found in every form', async (t) => {
  const found: [string, string[]][] = [
    ['process.exit(1)', ['process.exit']],
    ['process?.env.A', ['process.env']],
    [`process['env']`, ['process.env']],
    ['globalThis.process.env', ['process.env']],
    ['const { env } = process', ['process']],
    ['f(process)', ['process']],
    ['({ ...process.env })', ['process.env']],
    ['console.log(1)', ['console']],
    ['const { log } = console', ['console']],
    ['setTimeout(f, 1); Date.now()', ['setTimeout', 'Date']],
    ['a.process.exit(1)', []],
    ['a.console.log(1)', []],
    ['const a = { process: 1 }', []],
    ['interface A { readonly process?: B }', []],
    ['// process.exit(1)', []],
    [`'process.exit(1)'`, []],
  ]
  for (const [source, expected] of found) t.strictSame(usesOf(source).globals, expected, source)
})

t.test('a source that cannot be read to its end is an error, not a pass', async (t) => {
  for (const source of [`import 'x`, '/* a', '`a', `\`\${a`, `\`\${\`a}\``, 'a = /b'])
    t.throws(() => usesOf(source), source)
})

t.test('what breaks a rule is told', async (t) => {
  const broken: [string, Record<string, string>, string | RegExp][] = [
    [
      'errors imports',
      { 'src/errors.ts': `import './log.js'`, 'src/log.ts': '' },
      /errors may import nothing/,
    ],
    [
      'limits imports',
      { 'src/limits.ts': `import './errors.js'`, 'src/errors.ts': '' },
      /limits may import nothing/,
    ],
    [
      'log imports up',
      { 'src/log.ts': `import './options.js'`, 'src/options.ts': '' },
      /log may import errors/,
    ],
    [
      'wire imports log',
      { 'src/wire/a.ts': `import '../log.js'`, 'src/log.ts': '' },
      /wire may import errors/,
    ],
    [
      'wire imports relay',
      { 'src/wire/a.ts': `export * from '../relay/b.js'`, 'src/relay/b.ts': '' },
      /wire may/,
    ],
    ['wire does I/O', { 'src/wire/a.ts': `import { connect } from 'node:net'` }, /wire does no I\/O/],
    ['wire takes a package', { 'src/wire/a.ts': `import ws from 'ws'` }, /wire does no I\/O/],
    ['wire has a clock', { 'src/wire/a.ts': 'setTimeout(f, 1)' }, /wire has no clock/],
    [
      'platform imports log',
      { 'src/platform/a.ts': `import '../log.js'`, 'src/log.ts': '' },
      /platform may import/,
    ],
    [
      'relay imports token',
      { 'src/relay/a.ts': `import '../token.js'`, 'src/token.ts': '' },
      /relay may import/,
    ],
    [
      'relay imports init',
      { 'src/relay/a.ts': `import '../init.js'`, 'src/init.ts': '' },
      /relay may import/,
    ],
    [
      'a step imports another',
      { 'src/token.ts': `import './options.js'`, 'src/options.ts': '' },
      /token may import/,
    ],
    [
      'a step imports wire',
      { 'src/ca-bundle.ts': `import './wire/a.js'`, 'src/wire/a.ts': '' },
      /ca-bundle may/,
    ],
    [
      'a step’s folder imports relay',
      { 'src/options/a.ts': `import '../relay/a.js'`, 'src/relay/a.ts': '' },
      /options may/,
    ],
    ['init imports index', { 'src/init.ts': `import './index.js'`, 'src/index.ts': '' }, /init may import/],
    ['index imports cli', { 'src/index.ts': `import './cli.js'`, 'src/cli.ts': '' }, /index may import/],
    [
      'dynamically',
      { 'src/wire/a.ts': `await import('../log.js')`, 'src/log.ts': '' },
      /wire may import errors/,
    ],
    ['by #src', { 'src/wire/a.ts': `import '#src/log.js'`, 'src/log.ts': '' }, /wire may import errors/],
    ['a new room', { 'src/misc.ts': `import './log.js'`, 'src/log.ts': '' }, /has no place in the layers/],
    ['a module that is not there', { 'src/init.ts': `import './gone.js'` }, /is not there/],
    ['a computed name', { 'src/init.ts': 'await import(name)' }, /computed name/],
    [
      'out of src',
      { 'src/init.ts': `import '../gateway/src/a.js'`, 'gateway/src/a.ts': '' },
      /reaches out of src/,
    ],
    [
      'root imports gateway',
      { 'src/init.ts': `import 'upstreamproxy-gateway'` },
      /imports 'upstreamproxy-gateway'/,
    ],
    ['root imports itself', { 'src/init.ts': `import 'upstreamproxy'` }, /only a gateway may/],
    [
      'gateway takes the whole root',
      { 'gateway/src/a.ts': `import 'upstreamproxy'` },
      /only upstreamproxy\/wire/,
    ],
    [
      'gateway takes the root’s inside',
      { 'gateway/src/a.ts': `import 'upstreamproxy/dist/log.js'` },
      /only upstream/,
    ],
    [
      'gateway reaches into the root',
      { 'gateway/src/a.ts': `import '../../src/log.js'`, 'src/log.ts': '' },
      /reaches out/,
    ],
    [
      'the demo reaches into the root',
      { 'gateway/src/demo.ts': `import '../../src/cli.js'`, 'src/cli.ts': '' },
      /reaches/,
    ],
    [
      'gateway stands on its cli',
      { 'gateway/src/a.ts': `import './cli.js'`, 'gateway/src/cli.ts': '' },
      /on top/,
    ],
    [
      'a cycle of two',
      { 'src/wire/a.ts': `import './b.js'`, 'src/wire/b.ts': `import './a.js'` },
      /a\.ts: imports itself by way of src\/wire\/b\.ts/,
    ],
    ['a cycle of one', { 'src/wire/a.ts': `import './a.js'` }, /imports itself/],
    [
      'a cycle of three in the gateway',
      {
        'gateway/src/a.ts': `import './b.js'`,
        'gateway/src/b.ts': `export * from './c.js'`,
        'gateway/src/c.ts': `import('./a.js')`,
      },
      /imports itself by way of gateway\/src\/b\.ts, gateway\/src\/c\.ts/,
    ],
    ['printing', { 'src/init.ts': 'console.warn(1)' }, /uses console/],
    ['printing to stdout', { 'src/relay/a.ts': 'process.stdout.write(1)' }, /uses process\.stdout/],
    [
      'printing to stderr beside the log',
      { 'src/relay/a.ts': 'process.stderr.write(1)' },
      /uses process\.stderr/,
    ],
    ['exiting', { 'gateway/src/a.ts': 'process.exit(1)' }, /uses process\.exit/],
    ['setting the exit code', { 'src/init.ts': 'process.exitCode = 1' }, /uses process\.exitCode/],
    ['the process as a whole', { 'src/init.ts': 'const { exit } = process' }, /uses process;/],
    ['the process as a module', { 'src/init.ts': `import { exit } from 'node:process'` }, /use the global/],
    ['the environment', { 'src/trust.ts': 'process.env.A' }, /reads process\.env/],
    ['the environment in the gateway', { 'gateway/src/a.ts': 'process.env.A' }, /reads process\.env/],
    [
      'the environment twice in init',
      { 'src/init.ts': 'f(process.env); g(process.env)' },
      /reads process\.env/,
    ],
    ['a name that only begins like a CLI’s', { 'src/clients.ts': 'process.exit(1)' }, /uses process\.exit/],
  ]
  for (const [name, tree, expected] of broken) {
    const complaints = complaintsAbout(new Map(Object.entries(tree)))
    matchWhole(t, complaints, [expected], name)
    t.equal(complaints.length, 1, `${name}: once`)
  }
})

t.test('what breaks no rule is let through', async (t) => {
  const tree = {
    'src/errors.ts': '',
    'src/limits.ts': '',
    'src/log.ts': `import './errors.js'; process.stderr.write('')`,
    'src/token.ts': `import './errors.js'; import { readFileSync } from 'node:fs'`,
    'src/wire/index.ts': `export * from './a.js'`,
    'src/wire/a.ts': `import '../errors.js'; import { randomBytes } from 'node:crypto'; import type { B } from './index.js'`,
    'src/platform/own-tree.ts': `import '../errors.js'; require(name)`,
    'src/relay/a.ts': `import '../wire/index.js'; import '../limits.js'; import type { Token } from '../token.js'`,
    'src/options.ts': `import './options/table.js'; process.env.A`,
    'src/options/table.ts': `import '../errors.js'; process.env.B`,
    'src/init.ts': `import './token.js'; import './relay/a.js'; import './options.js'; f(process.env)`,
    'src/index.ts': `export * from './init.js'`,
    'src/cli.ts': `import './cli/run.js'; console.log(process.env.A); process.exit(0)`,
    'src/cli/run.ts': `import '../index.js'; import ws from 'ws'; process.stdout.write('')`,
    'gateway/src/core.ts': `import { decodeChunk } from 'upstreamproxy/wire'; import type { R } from 'upstreamproxy'; process.pid`,
    'gateway/src/config.ts': 'process.env.A',
    'gateway/src/cli.ts': `import './core.js'; import './demo/run.js'; console.log(1)`,
    'gateway/src/demo/run.ts': `import '../core.js'; console.log(1)`,
  }
  t.strictSame(complaintsAbout(new Map(Object.entries(tree))), [])
})

function sourcesUnder(folder: string): [path: string, source: string][] {
  const root = new URL('../', import.meta.url)
  return readdirSync(new URL(folder, root), { recursive: true, encoding: 'utf8' })
    .filter((name) => name.endsWith('.ts'))
    .map((name) => `${folder}/${name.replaceAll('\\', '/')}`)
    .map((path) => [path, readFileSync(new URL(path, root), 'utf8')])
}
