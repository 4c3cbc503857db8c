/** Organisations of the configuration: their rules, and the headers with their secrets in. */
import { METHODS } from 'node:http'
import type { ConfigPath } from './config-problems.js'
import type { RawOrg, RawRule } from './config-schema.js'
import type { ConfigSources } from './config-sources.js'
import { headerName, headerValue, hostPattern, UnknownSecret, ValueError } from './config-values.js'
import { didYouMean } from './did-you-mean.js'
import { PathPattern } from './path-pattern.js'
import type { InjectedHeader, Org, Rule } from './policy.js'
import type { Secret } from './secret.js'

type Secrets = ReadonlyMap<string, Secret | undefined>

/** Checks one organisation; what is wrong is noted in `from`. */
export function readOrg(from: ConfigSources, name: string, raw: RawOrg): Org {
  const at = ['orgs', name]
  const secrets: Secrets = new Map(
    Object.entries(raw.secrets).map(([secret, source]) => [
      secret,
      from.secret([...at, 'secrets', secret], source),
    ]),
  )
  const rules = raw.rules.flatMap(
    (rule, i) => readRule(from, [...at, 'rules', i], i + 1, rule, secrets) ?? [],
  )
  return Object.freeze({ name, default: raw.default, rules: Object.freeze(rules) })
}

function readRule(
  from: ConfigSources,
  at: ConfigPath,
  number: number,
  { match, action = 'allow', set }: RawRule,
  secrets: Secrets,
): Rule | undefined {
  const host = from.checked([...at, 'match', 'host'], () => hostPattern(match.host))
  const path = readPath(from, [...at, 'match', 'path'], match.path)
  match.methods?.forEach((method, i) => {
    if (METHOD_NAMES.includes(method)) return
    const hint = METHOD_NAMES.includes(method.toUpperCase())
      ? `methods are upper case: ${method.toUpperCase()}`
      : didYouMean(method.toUpperCase(), METHOD_NAMES)
    from.problem([...at, 'match', 'methods', i], 'not a method that is forwarded', hint)
  })
  if (action === 'deny' && set !== undefined) {
    from.problem([...at, 'set'], 'a rule that denies sets no headers')
  }
  const headers = readHeaders(from, [...at, 'set'], set ?? {}, secrets)
  if (host === undefined) return undefined
  const methods = match.methods && new Set(match.methods)
  return Object.freeze({ number, host, port: match.port, path, methods, action, set: Object.freeze(headers) })
}

function readPath(from: ConfigSources, at: ConfigPath, text: string | undefined): PathPattern | undefined {
  return text === undefined ? undefined : from.checked(at, () => new PathPattern(text))
}

function readHeaders(
  from: ConfigSources,
  at: ConfigPath,
  set: Readonly<Record<string, string>>,
  secrets: Secrets,
): InjectedHeader[] {
  const names = new Set<string>()
  const headers: InjectedHeader[] = []
  for (const [text, template] of Object.entries(set)) {
    const name = from.checked([...at, text], () => headerName(text))
    const value = readValue(from, [...at, text], template, secrets)
    if (name === undefined) continue
    if (names.has(name)) from.problem([...at, text], `the header ${name} stands twice`)
    names.add(name)
    if (value !== undefined) headers.push(Object.freeze({ name, value }))
  }
  return headers
}

function readValue(
  from: ConfigSources,
  at: ConfigPath,
  template: string,
  secrets: Secrets,
): Secret | undefined {
  try {
    return headerValue(template, secrets)
  } catch (error) {
    if (!(error instanceof ValueError)) throw error
    const near = error instanceof UnknownSecret ? didYouMean(error.secret, [...secrets.keys()]) : undefined
    from.problem(at, error.message, near ?? error.hint)
    return undefined
  }
}

const METHOD_NAMES: readonly string[] = METHODS.filter((method) => method !== 'CONNECT' && method !== 'TRACE')
