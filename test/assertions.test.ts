/** A test that cannot fail is a defect: forms of assertion that let through what they seem to refuse. */
import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import t, { Test } from 'tap'
import { type Token, tokensOf } from './layers/tokens.js'
import { matchWhole } from './support/match-whole.js'

const ROOT = fileURLToPath(new URL('../', import.meta.url))

t.test('no pattern of t.match has an array or an empty object in it: that is for matchWhole', async (t) => {
  const files = ['test', 'gateway/test'].flatMap((folder) =>
    readdirSync(join(ROOT, folder), { recursive: true })
      .map((name) => `${folder}/${name}`)
      .filter((path) => path.endsWith('.ts')),
  )
  t.ok(files.length > 50, 'the tests are found')
  const read = (path: string) => readFileSync(join(ROOT, path), 'utf8')
  t.same(
    files.flatMap((path) => openPatterns(read(path)).map((text) => `${path}: ${text}`)),
    [],
  )
})

t.test('which finds them', async (t) => {
  for (const [source, found] of [
    ['t.match(x, [])', 1],
    ['t.match(x, { lines: [] })', 1],
    ['t.match(x, { env: { } })', 1],
    ['t.match(f(x, y), { lines: [/a/] }, "text")', 1],
    ['t.match([x, y], /z/); t.match(x[0], y[1], [0])', 0],
    ['text.match(/[a]/); t.match(x, /[{}]/); t.match(x, { a: y[0], b: f(z)[1] })', 0],
    ['test.match(x, f([]))', 1],
  ] as const)
    t.equal(openPatterns(source).length, found, source)
})

t.test('matchWhole refuses what t.match lets through', async (t) => {
  const cases: readonly (readonly [actual: unknown, pattern: unknown, good: boolean])[] = [
    [[], [], true],
    [['more'], [], false],
    [['a', 'b'], [/a/], false],
    [['a'], [/a/, /b/], false],
    [{ lines: ['more'], rest: 1 }, { lines: [] }, false],
    [{ lines: [], rest: 1 }, { lines: [] }, true],
    [[{ a: ['x', 'y'] }], [{ a: ['x'] }], false],
    [{ env: { a: 1 } }, { env: {} }, false],
    [{ env: {} }, { env: {} }, true],
    [{ at: new Date(0) }, { at: Date }, true],
  ]
  for (const [actual, pattern, good] of cases) {
    // One that reports to nobody.
    const inner = new Test({ name: 'inner' })
    t.equal(matchWhole(inner, actual, pattern), good, JSON.stringify([actual, String(pattern)]))
  }
})

// The patterns of a source that have an array or an empty object in them, each by its first words.
function openPatterns(source: string): string[] {
  const tokens = tokensOf(source)
  return tokens.flatMap((token, at) => {
    if (token.text !== 'match' || tokens[at - 1]?.text !== '.' || tokens[at + 1]?.text !== '(') return []
    const pattern = secondArgument(tokens, at + 2)
    return hasOpenLiteral(pattern)
      ? [
          pattern
            .slice(0, 12)
            .map(({ text }) => text)
            .join(' '),
        ]
      : []
  })
}

function secondArgument(tokens: readonly Token[], from: number): readonly Token[] {
  let depth = 0
  const commas: number[] = []
  let at = from
  for (; at < tokens.length && depth >= 0; at += 1) {
    const { kind, text } = tokens[at]!
    if (kind !== 'punctuation') continue
    if ('([{'.includes(text)) depth += 1
    if (')]}'.includes(text)) depth -= 1
    if (text === ',' && depth === 0) commas.push(at)
  }
  return commas.length === 0 ? [] : tokens.slice(commas[0]! + 1, commas[1] ?? at - 1)
}

function hasOpenLiteral(tokens: readonly Token[]): boolean {
  return [...tokens.keys()].some((at) => opensArray(tokens, at) || isEmptyObject(tokens, at))
}

// Not one that takes an element of what is before it.
function opensArray(tokens: readonly Token[], at: number): boolean {
  const before = tokens[at - 1]
  if (!isPunctuation(tokens[at], '[')) return false
  return before === undefined || (before.kind === 'punctuation' && !')]!'.includes(before.text))
}

function isEmptyObject(tokens: readonly Token[], at: number): boolean {
  return isPunctuation(tokens[at], '{') && isPunctuation(tokens[at + 1], '}')
}

function isPunctuation(token: Token | undefined, text: string): boolean {
  return token?.kind === 'punctuation' && token.text === text
}
