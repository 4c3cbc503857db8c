/** What one source file imports at run time, and which globals with an effect (console, process.…, timers) it uses. */
import { type Token, tokensOf } from './tokens.js'

export interface Uses {
  /** specifiers as written, `import type` and `export type` left out; `import(x)` of a computed x gives `undefined` */
  readonly imports: readonly (string | undefined)[]
  /** `console`, `setTimeout`, `process.env`, …; `process` where it is passed on whole, so that anything may follow */
  readonly globals: readonly string[]
}

/** Reads a TypeScript source. `import { type X }` counts as an import: under verbatimModuleSyntax it stays one. */
export function usesOf(source: string): Uses {
  const tokens = tokensOf(source)
  const imports: (string | undefined)[] = []
  const globals: string[] = []
  tokens.forEach((token, at) => {
    if (token.kind !== 'word' || isProperty(tokens, at)) return
    if (token.text === 'import') imports.push(...importAt(tokens, at))
    else if (token.text === 'export') imports.push(...exportAt(tokens, at))
    else if (token.text === 'require' && isCall(tokens, at)) imports.push(argumentAt(tokens, at))
    else if (WATCHED.has(token.text)) globals.push(...globalAt(tokens, at))
  })
  return { imports, globals }
}

function importAt(tokens: readonly Token[], at: number): (string | undefined)[] {
  const next = tokens[at + 1]
  if (next?.kind === 'string') return [next.text]
  if (next?.text === '.') return []
  if (isCall(tokens, at)) return [argumentAt(tokens, at)]
  if (isTypeOnly(tokens, at + 1)) return []
  return specifierAfterFrom(tokens, at + 1)
}

// `export *` and `export {…}` may have a `from`; any other export declares something of the file's own.
function exportAt(tokens: readonly Token[], at: number): (string | undefined)[] {
  if (isTypeOnly(tokens, at + 1)) return []
  const next = tokens[at + 1]?.text
  if (next === '*') return specifierAfterFrom(tokens, at + 1)
  if (next !== '{') return []
  const close = tokens.findIndex(
    (token, index) => index > at && token.text === '}' && token.kind === 'punctuation',
  )
  return tokens[close + 1]?.text === 'from' ? specifierAfterFrom(tokens, close) : []
}

// `import type X from`, `import type { … }`, `export type * from`; but `import type from 'x'` imports a value.
function isTypeOnly(tokens: readonly Token[], at: number): boolean {
  if (tokens[at]?.kind !== 'word' || tokens[at].text !== 'type') return false
  const next = tokens[at + 1]
  if (next?.kind === 'word' && next.text === 'from') return tokens[at + 2]?.text === 'from'
  return next?.text !== ','
}

function specifierAfterFrom(tokens: readonly Token[], from: number): (string | undefined)[] {
  for (let at = from; at < tokens.length; at += 1) {
    const next = tokens[at + 1]
    if (tokens[at]?.text === 'from' && tokens[at]?.kind === 'word' && next?.kind === 'string')
      return [next.text]
  }
  throw new Error('an import without a specifier')
}

function globalAt(tokens: readonly Token[], at: number): string[] {
  const name = tokens[at]?.text ?? ''
  const mark = tokens[at + 1]?.text === '?' ? at + 2 : at + 1
  if (tokens[mark]?.text === ':') return [] // a key of an object or a type, or a parameter's name
  if (name !== 'process') return [name]
  const dot = tokens[at + 1]?.text === '?' ? at + 2 : at + 1
  const member = tokens[dot + 1]
  if (tokens[dot]?.text === '.' && member?.kind === 'word') return [`${name}.${member.text}`]
  if (tokens[dot]?.text === '[' && member?.kind === 'string') return [`${name}.${member.text}`]
  return [name]
}

// `x.process` is no global, `globalThis.process` and `...process` are.
function isProperty(tokens: readonly Token[], at: number): boolean {
  if (tokens[at - 1]?.text !== '.' || tokens[at - 1]?.kind !== 'punctuation') return false
  const owner = tokens[at - 2]
  return (
    owner?.text !== '.' &&
    !(owner?.kind === 'word' && (owner.text === 'globalThis' || owner.text === 'global'))
  )
}

function isCall(tokens: readonly Token[], at: number): boolean {
  return tokens[at + 1]?.kind === 'punctuation' && tokens[at + 1]?.text === '('
}

function argumentAt(tokens: readonly Token[], at: number): string | undefined {
  const argument = tokens[at + 2]
  return argument?.kind === 'string' && [')', ','].includes(tokens[at + 3]?.text ?? '')
    ? argument.text
    : undefined
}

const CLOCKS = ['setTimeout', 'setInterval', 'setImmediate', 'Date', 'performance']
const WATCHED = new Set(['console', 'process', 'fetch', 'WebSocket', ...CLOCKS])
