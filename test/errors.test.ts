import { readdirSync, readFileSync } from 'node:fs'
import { inspect } from 'node:util'
import t from 'tap'
import { asProxyError, codeOf, codeOrText, ERROR_CODES, ProxyError } from '#src/errors.js'
import { tokensOf } from './layers/tokens.js'

const root = new URL('../', import.meta.url)
const codes = Object.keys(ERROR_CODES) as (keyof typeof ERROR_CODES)[]

t.test('docs/errors.md has every code, once, with its meaning, its status, and what to do', async (t) => {
  const rows = readFileSync(new URL('docs/errors.md', root), 'utf8')
    .split('\n')
    .filter((line) => line.startsWith('| `ERR_'))
    .map((line) => line.split('|').map((cell) => cell.trim()))
  t.strictSame(rows.map(([, code]) => code?.replaceAll('`', '')).sort(), [...codes].sort())
  for (const [, code = '', status, meaning = '', advice = ''] of rows) {
    const entry: { meaning: string; status?: number } | undefined =
      ERROR_CODES[code.replaceAll('`', '') as keyof typeof ERROR_CODES]
    const said = meaning.replaceAll('`', '').toLowerCase()
    t.ok(said.startsWith(`**${entry?.meaning.toLowerCase()}`), `${code} means what the table of codes says`)
    t.equal(status, String(entry?.status ?? ''), `${code} has the status of its answer`)
    t.ok(advice.length > 10, `${code} says what to do`)
  }
})

t.test('what a message says of an error that is not ours: its code, else its text', async (t) => {
  const coded = Object.assign(new Error('no such file'), { code: 'ENOENT' })
  for (const [error, code, text] of [
    [coded, 'ENOENT', 'ENOENT'],
    [Object.assign(new Error(''), { code: 7 }), '7', '7'],
    [new TypeError('wrong'), undefined, 'wrong'],
    [new RangeError(), undefined, 'RangeError'],
    ['thrown as text', undefined, 'thrown as text'],
    [{ code: 'ENOENT' }, undefined, '[object Object]'],
    [undefined, undefined, 'undefined'],
  ] as const) {
    t.equal(codeOf(error), code)
    t.equal(codeOrText(error), text)
  }
})

t.test('every code is provoked by name in a test', async (t) => {
  const named = namedIn(['test', 'gateway/test'])
  t.strictSame(
    codes.filter((code) => !named.has(code)),
    [],
  )
})

t.test('every code of the sources is in the table, and every one of the table in the sources', async (t) => {
  const named = namedIn(['src'], 'src/errors.ts')
  const system = /^ERR_(?:TLS|SSL|INVALID|PARSE)_/
  t.strictSame(
    [...named].filter((code) => !(code in ERROR_CODES) && !system.test(code)),
    [],
  )
  t.strictSame(
    codes.filter((code) => !named.has(code) && code !== 'ERR_INTERNAL'),
    [],
  )
})

t.test('an error of another kind becomes ours, with its cause; ours stays as it is', async (t) => {
  const ours = new ProxyError('ERR_LISTEN', 'taken', { hint: 'another port' })
  t.equal(asProxyError(ours), ours)
  t.equal(asProxyError(ours, 'ERR_CA_WRITE'), ours)
  const cause = new Error('what it was')
  t.match(asProxyError(cause), { code: 'ERR_INTERNAL', message: 'what it was', cause, status: 502 })
  t.match(asProxyError('text', 'ERR_CA_WRITE'), { code: 'ERR_CA_WRITE', message: 'text', cause: 'text' })
  t.equal(asProxyError('text', 'ERR_CA_WRITE').status, undefined)
  t.match(inspect(ours), /ERR_LISTEN/)
})

// What strings, templates and regular expressions of the sources name, comments left out.
function namedIn(folders: readonly string[], ...except: string[]): Set<string> {
  const own = ['test/errors.test.ts', ...except]
  const texts = folders.flatMap(filesUnder).flatMap((path) => {
    if (own.includes(path)) return []
    const text = readFileSync(new URL(path, root), 'utf8')
    if (path.endsWith('.json')) return [text]
    return tokensOf(text).map((token) => token.text)
  })
  return new Set(texts.flatMap((text) => text.match(/\bERR_[A-Z_]+\b/g) ?? []))
}

function filesUnder(folder: string): string[] {
  return readdirSync(new URL(folder, root), { recursive: true, encoding: 'utf8' })
    .filter((name) => /\.(?:ts|json)$/.test(name) && !name.endsWith('tsconfig.json'))
    .map((name) => `${folder}/${name.replaceAll('\\', '/')}`)
}
