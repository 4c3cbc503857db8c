/** What is wrong with a configuration, and where: every problem has its line and column. */
import { isMap, isScalar, isSeq, LineCounter, type Node, parseDocument, visit } from 'yaml'

export interface Problem {
  readonly file: string
  /** both from 1 */
  readonly line: number
  readonly column: number
  readonly message: string
  /** what a person can do about it */
  readonly hint?: string | undefined
}

/** The configuration cannot be used. `message` lists all problems, one a line; values of secrets are in none. */
export class ConfigError extends Error {
  override readonly name = 'ConfigError'
  readonly problems: readonly Problem[]

  constructor(problems: readonly Problem[]) {
    super(problems.map(problemText).join('\n'))
    this.problems = problems
  }
}

/** `file:line:column: message (hint)`, as editors and terminals know it. */
export function problemText({ file, line, column, message, hint }: Problem): string {
  return `${file}:${line}:${column}: ${message}${hint === undefined ? '' : ` (${hint})`}`
}

export type ConfigPath = readonly (string | number)[]

/** A YAML text: its value, and where each part of it stands. */
export class YamlSource {
  readonly value: unknown
  readonly problems: readonly Problem[]
  readonly #file: string
  readonly #lines = new LineCounter()
  readonly #root: unknown

  constructor(text: string, file: string) {
    this.#file = file
    // prettyErrors would quote the text around an error: it may hold what should have been a secret elsewhere.
    const document = parseDocument(text, { lineCounter: this.#lines, prettyErrors: false })
    this.#root = document.contents
    const found = [...document.errors, ...document.warnings].map(({ pos, code }) =>
      this.#problem(
        pos[0],
        `not valid YAML: ${YAML_ERRORS.get(code) ?? code.toLowerCase().replaceAll('_', ' ')}`,
      ),
    )
    // An object literal cannot hold it as a key of its own: nothing may hide behind that name.
    visit(document, {
      Pair: (_, { key }) => {
        if (isScalar(key) && key.value === '__proto__') {
          found.push(this.#problem(key.range?.[0] ?? 0, '__proto__ cannot be a key'))
        }
      },
    })
    this.problems = found
    if (found.length > 0) return
    try {
      this.value = document.toJS({ maxAliasCount: 100 }) ?? {}
    } catch {
      // Aliases that unfold without end; there is no position to this one.
      found.push(this.#problem(0, 'not usable YAML: too many aliases'))
    }
  }

  /** A problem at the key or the item that a path leads to, or at the nearest part of the path that is there. */
  at(path: ConfigPath, message: string, hint?: string): Problem {
    let node: unknown = this.#root
    let found: unknown = node
    for (const step of path) {
      if (isMap(node)) {
        const pair = node.items.find(({ key }) => isScalar(key) && String(key.value) === String(step))
        if (!pair) break
        found = pair.key
        node = pair.value
      } else if (isSeq(node) && typeof step === 'number' && node.items[step] !== undefined) {
        node = node.items[step]
        found = node
      } else break
    }
    return this.#problem((found as Node | null)?.range?.[0] ?? 0, message, hint)
  }

  #problem(offset: number, message: string, hint?: string): Problem {
    const { line, col } = this.#lines.linePos(offset)
    return { file: this.#file, line: Math.max(line, 1), column: Math.max(col, 1), message, hint }
  }
}

const YAML_ERRORS = new Map<string, string>([
  ['DUPLICATE_KEY', 'a key stands twice'],
  ['TAB_AS_INDENT', 'a tab as indentation'],
  ['BAD_INDENT', 'the indentation does not fit'],
  ['MULTIPLE_DOCS', 'more than one document'],
  ['MISSING_CHAR', 'a character is missing'],
  ['UNEXPECTED_TOKEN', 'something unexpected stands here'],
  ['TAG_RESOLVE_FAILED', 'an unknown tag'],
  ['BAD_ALIAS', 'an alias to an anchor that is not there'],
])
