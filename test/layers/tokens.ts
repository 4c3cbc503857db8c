/**
 * TypeScript source → tokens, well enough to find imports and the names a file uses. TypeScript 7 has no JavaScript
 * API yet, and a search by regular expression would stumble over comments, strings and templates.
 *
 * Rule 1: comments, and the text inside strings, templates and regular expressions, never become words.
 * Rule 2: code inside `${…}` is code.
 * Rule 3: what cannot be read to its end is an error, not a guess.
 */

export interface Token {
  readonly kind: 'word' | 'string' | 'punctuation' | 'other'
  /**
   * a word, punctuation or regular expression as written; a string's content without its quotes (escapes left as
   * written); a backquote and the text of a template that has expressions
   */
  readonly text: string
}

/** The tokens of a source text, in order. Throws where a string, comment, template or expression never ends. */
export function tokensOf(source: string): Token[] {
  const tokens: Token[] = []
  const end = readCode(source, 0, tokens, undefined)
  if (end !== source.length) throw new Error(`unbalanced } at offset ${end}`)
  return tokens
}

// Reads code up to the end, or up to the `}` that closes a template's `${`; gives the offset where it stopped.
function readCode(source: string, from: number, tokens: Token[], closing: '}' | undefined): number {
  let braces = 0
  let at = from
  while (at < source.length) {
    const rest = source.slice(at, at + 2)
    const char = rest.charAt(0)
    if (/\s/.test(char)) at += 1
    else if (rest === '//' || rest === '#!') at = endOf(source, '\n', at)
    else if (rest === '/*') at = after(source, '*/', at + 2, 'comment')
    else if (char === "'" || char === '"') at = readString(source, at, tokens)
    else if (char === '`') at = readTemplate(source, at, tokens)
    else if (char === '/' && expressionMayStart(tokens.at(-1))) at = readRegularExpression(source, at, tokens)
    else if (WORD.test(char)) at = readWord(source, at, tokens)
    else {
      if (char === '{') braces += 1
      if (char === '}') {
        if (braces === 0 && closing === '}') return at
        braces -= 1
      }
      tokens.push({ kind: 'punctuation', text: char })
      at += 1
    }
  }
  if (closing !== undefined) throw new Error('a template expression never ends')
  return at
}

function readString(source: string, from: number, tokens: Token[]): number {
  const quote = source[from]
  let at = from + 1
  while (source[at] !== quote) {
    if (at >= source.length || source[at] === '\n') throw new Error(`a string at offset ${from} never ends`)
    at += source[at] === '\\' ? 2 : 1
  }
  tokens.push({ kind: 'string', text: source.slice(from + 1, at) })
  return at + 1
}

// A template without expressions counts as a string, so that import(`./x.js`) hides nothing.
function readTemplate(source: string, from: number, tokens: Token[]): number {
  let at = from + 1
  let text = ''
  const inner: Token[] = []
  while (source[at] !== '`') {
    if (at >= source.length) throw new Error(`a template at offset ${from} never ends`)
    if (source.startsWith('${', at)) {
      // Something stands for the expression, so that code inside is never the first or last of the tokens.
      inner.push({ kind: 'punctuation', text: '(' })
      at = readCode(source, at + 2, inner, '}') + 1
      inner.push({ kind: 'punctuation', text: ')' })
      continue
    }
    const step = source[at] === '\\' ? 2 : 1
    text += source.slice(at, at + step)
    at += step
  }
  if (inner.length === 0) tokens.push({ kind: 'string', text })
  else tokens.push({ kind: 'other', text: `\`${text}` }, ...inner, { kind: 'other', text: '`' })
  return at + 1
}

function readRegularExpression(source: string, from: number, tokens: Token[]): number {
  let at = from + 1
  let inClass = false
  while (inClass || source[at] !== '/') {
    if (at >= source.length || source[at] === '\n')
      throw new Error(`a regular expression at ${from} never ends`)
    if (source[at] === '[') inClass = true
    if (source[at] === ']') inClass = false
    at += source[at] === '\\' ? 2 : 1
  }
  at += 1
  while (WORD.test(source[at] ?? '')) at += 1
  tokens.push({ kind: 'other', text: source.slice(from, at) })
  return at
}

function readWord(source: string, from: number, tokens: Token[]): number {
  let at = from
  while (WORD.test(source[at] ?? '')) at += 1
  tokens.push({ kind: 'word', text: source.slice(from, at) })
  return at
}

// A slash divides after a value and starts a regular expression elsewhere. After `)` and `}` it could be either;
// there it is taken for a division, and a wrong guess ends, as a rule, in an error of Rule 3.
function expressionMayStart(previous: Token | undefined): boolean {
  if (previous === undefined) return true
  if (previous.kind === 'word') return BEFORE_EXPRESSION.has(previous.text)
  return previous.kind === 'punctuation' && !')]}'.includes(previous.text)
}

function endOf(source: string, mark: string, from: number): number {
  const found = source.indexOf(mark, from)
  return found === -1 ? source.length : found
}

function after(source: string, mark: string, from: number, what: string): number {
  const found = source.indexOf(mark, from)
  if (found === -1) throw new Error(`a ${what} never ends`)
  return found + mark.length
}

const WORD = /[\w$\u0080-\uffff]/
const BEFORE_EXPRESSION = new Set(
  'return typeof case do else in of instanceof new void delete throw yield await default'.split(' '),
)
