/**
 * What an organisation lets through, and what it adds.
 *
 * Rule 1: the first rule that matches host, port, method and path decides; where none does, the default does.
 * Rule 2: a host is exact, or `*.suffix`, which is every name below the suffix and not the suffix itself. An address
 *         matches only itself.
 * Rule 3: where a path's readings (path-pattern.ts) disagree, a rule that denies applies, and one that allows makes
 *         the request refused as ambiguous: no request is guessed past a denial, or to a secret.
 * Rule 4: where no rule that could apply looks at paths, any path goes.
 */
import { isIP } from 'node:net'
import { PathError, type PathPattern, PathReadings } from './path-pattern.js'
import type { ReasonCode } from './reasons.js'
import type { Secret } from './secret.js'

export interface InjectedHeader {
  /** lower case */
  readonly name: string
  readonly value: Secret
}

export interface Rule {
  /** its place in the organisation's list, from 1 */
  readonly number: number
  readonly host: HostPattern
  /** any port where undefined */
  readonly port: number | undefined
  /** any path where undefined */
  readonly path: PathPattern | undefined
  /** any method where undefined */
  readonly methods: ReadonlySet<string> | undefined
  readonly action: 'allow' | 'deny'
  readonly set: readonly InjectedHeader[]
}

export interface Org {
  readonly name: string
  readonly default: 'allow' | 'deny'
  readonly rules: readonly Rule[]
}

export interface Allowed {
  readonly decision: 'allow'
  /** number of the rule, or `default` */
  readonly rule: string
  readonly set: readonly InjectedHeader[]
}

export interface Denied {
  readonly decision: 'deny'
  readonly rule: string
  readonly reason: ReasonCode
  readonly detail?: string
}

export interface Destination {
  /** canonical: lower case, no trailing dot, no brackets */
  readonly host: string
  readonly port: number
}

export interface RequestTarget extends Destination {
  readonly method: string
  /** begins with `/`, without its query, as it came */
  readonly path: string
}

/** An exact host, or `*.suffix`. Takes canonical text. */
export class HostPattern {
  readonly text: string
  readonly #suffix: string | undefined

  constructor(text: string) {
    this.text = text
    this.#suffix = text.startsWith('*.') ? text.slice(1) : undefined
  }

  matches(host: string): boolean {
    if (this.#suffix === undefined) return host === this.text
    return host.length > this.#suffix.length && host.endsWith(this.#suffix) && isIP(host) === 0
  }
}

/** Whether any request to the destination could be allowed: what a CONNECT is answered by. */
export function decideConnect(org: Org, destination: Destination): Allowed | Denied {
  for (const rule of rulesFor(org, destination)) {
    if (rule.action === 'allow') return { decision: 'allow', rule: String(rule.number), set: [] }
    // A rule that denies some paths or methods leaves the others to the rules below it.
    if (rule.path === undefined && rule.methods === undefined) return deniedBy(rule)
  }
  return byDefault(org)
}

/** The decision on one request. */
export function decideRequest(org: Org, request: RequestTarget): Allowed | Denied {
  let path: PathReadings | undefined
  for (const rule of rulesFor(org, request)) {
    if (rule.methods !== undefined && !rule.methods.has(request.method)) continue
    if (rule.path !== undefined) {
      try {
        path ??= new PathReadings(request.path)
      } catch (error) {
        if (!(error instanceof PathError)) throw error
        return ambiguous(rule, error.message)
      }
      const match = rule.path.matches(path)
      if (match === 'none') continue
      if (match === 'some' && rule.action === 'allow') {
        return ambiguous(rule, `rule ${rule.number} matches only some readings of it`)
      }
    }
    if (rule.action === 'deny') return deniedBy(rule)
    return { decision: 'allow', rule: String(rule.number), set: rule.set }
  }
  return byDefault(org)
}

function rulesFor(org: Org, { host, port }: Destination): Rule[] {
  return org.rules.filter(
    (rule) => rule.host.matches(host) && (rule.port === undefined || rule.port === port),
  )
}

function deniedBy(rule: Rule): Denied {
  return { decision: 'deny', rule: String(rule.number), reason: 'denied-by-rule' }
}

function ambiguous(rule: Rule, detail: string): Denied {
  return { decision: 'deny', rule: String(rule.number), reason: 'path-ambiguous', detail }
}

function byDefault(org: Org): Allowed | Denied {
  if (org.default === 'allow') return { decision: 'allow', rule: 'default', set: [] }
  return { decision: 'deny', rule: 'default', reason: 'denied-by-default' }
}
