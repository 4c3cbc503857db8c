/**
 * The configuration: YAML text in, one frozen Config out, or every problem with its line and column.
 *
 * Rule 1: nothing is used that was not checked; unknown keys are refused.
 * Rule 2: values of secrets are in no message; their names are.
 * Rule 3: files are named relative to the configuration's own folder.
 */
import { readFileSync } from 'node:fs'
import { isIP } from 'node:net'
import { dirname, resolve } from 'node:path'
import type { AddressRange } from './addresses.js'
import { readOrg } from './config-orgs.js'
import { ConfigError, type ConfigPath, type Problem, YamlSource } from './config-problems.js'
import { ConfigSchema, knownKeys, type RawConfig } from './config-schema.js'
import { ConfigSources, type ConfigSurroundings, type PemPair } from './config-sources.js'
import {
  addressRange,
  checkSessionId,
  checkToken,
  hostName,
  type ListenAddress,
  listenAddress,
} from './config-values.js'
import { didYouMean } from './did-you-mean.js'
import { DEFAULT_LIMITS, type Limits } from './limits.js'
import { errorText } from './log.js'
import type { Org } from './policy.js'
import type { Session } from './sessions.js'

export type { ConfigSurroundings, PemPair } from './config-sources.js'

export interface Config {
  readonly listen: ListenAddress
  /** absent: plain WebSockets */
  readonly tls: PemPair | undefined
  /** absent: made at the first start, kept in `state` */
  readonly ca: PemPair | undefined
  /** absolute path of a folder */
  readonly state: string
  readonly upstream: {
    /** PEM of roots that vouch for origins, after the system's */
    readonly extraRoots: string | undefined
    readonly allowAddresses: readonly AddressRange[]
    /** addresses of names that are not looked up */
    readonly hosts: ReadonlyMap<string, string>
  }
  /** `file` is absolute */
  readonly audit: { readonly file: string; readonly onError: 'block' | 'continue' }
  readonly limits: Limits
  readonly sessions: readonly Session[]
  readonly orgs: ReadonlyMap<string, Org>
  /** what works and is still worth a look */
  readonly warnings: readonly Problem[]
}

/** Reads and checks a configuration file. Throws ConfigError. */
export function loadConfig(file: string, env: ConfigSurroundings['env']): Config {
  let text: string
  try {
    text = readFileSync(file, 'utf8')
  } catch (error) {
    const message = `cannot be read: ${errorText(error)}`
    throw new ConfigError([{ file, line: 1, column: 1, message }])
  }
  return parseConfig(text, { file, folder: dirname(resolve(file)), env })
}

/** Checks a configuration text. Throws ConfigError. */
export function parseConfig(text: string, surroundings: ConfigSurroundings): Config {
  const source = new YamlSource(text, surroundings.file ?? 'gateway.yaml')
  if (source.problems.length > 0) throw new ConfigError(source.problems)
  const shape = ConfigSchema.safeParse(source.value)
  if (!shape.success) {
    throw new ConfigError(shape.error.issues.flatMap((issue) => shapeProblems(issue, source)))
  }
  const from = new ConfigSources(source, surroundings)
  const config = readConfig(from, shape.data)
  if (config === undefined || from.problems.length > 0) throw new ConfigError(from.problems)
  return config
}

type Issue = NonNullable<ReturnType<typeof ConfigSchema.safeParse>['error']>['issues'][number]

function shapeProblems(issue: Issue, source: YamlSource): Problem[] {
  const path = issue.path as (string | number)[]
  if (issue.code !== 'unrecognized_keys') {
    const where = path.length === 0 ? '' : `${path.join('.')}: `
    return [source.at(path, `${where}${issue.message.replace(/^Invalid (input|option): /, '')}`)]
  }
  const known = knownKeys(path)
  return issue.keys.map((key) =>
    source.at(
      [...path, key],
      `unknown key ${JSON.stringify(key)}`,
      didYouMean(key, known) ?? `known here: ${known.join(', ')}`,
    ),
  )
}

function readConfig(from: ConfigSources, raw: RawConfig): Config | undefined {
  const listen = from.checked(['listen'], () => listenAddress(raw.listen))
  const tls = raw.tls && from.pemPair(['tls'], raw.tls)
  const ca = raw.ca && from.pemPair(['ca'], raw.ca)
  const orgs = new Map(Object.entries(raw.orgs).map(([name, org]) => [name, readOrg(from, name, org)]))
  const upstream = readUpstream(from, raw)
  const sessions = readSessions(from, raw, orgs)
  const limits = readLimits(from, raw)
  if (listen === undefined) return undefined
  if (raw.tls === undefined && !isLoopback(listen.host)) {
    from.warn(
      ['listen'],
      'without tls, tokens cross the network in the clear',
      'is there TLS in front of it?',
    )
  }
  const auditFile = from.path(raw.audit.file ?? `${raw.state}/audit.jsonl`)
  return Object.freeze({
    listen,
    tls,
    ca,
    state: from.path(raw.state),
    upstream,
    audit: Object.freeze({ file: auditFile, onError: raw.audit.onError }),
    limits,
    sessions,
    orgs,
    warnings: from.warnings,
  })
}

function readLimits(from: ConfigSources, raw: RawConfig): Limits {
  const set = Object.entries(raw.limits).filter(([, value]) => value !== undefined)
  const limits = Object.freeze({ ...DEFAULT_LIMITS, ...Object.fromEntries(set) }) as Limits
  if (limits.downLowBytes > limits.downHighBytes) {
    from.problem(['limits', 'downLowBytes'], 'is over downHighBytes: writing would never go on')
  }
  return limits
}

function readUpstream(from: ConfigSources, { upstream }: RawConfig): Config['upstream'] {
  const at: ConfigPath = ['upstream']
  const extraRoots =
    upstream.caFile === undefined ? undefined : from.certificates([...at, 'caFile'], upstream.caFile)
  const allowAddresses = upstream.allowAddresses.flatMap(
    (text, i) => from.checked([...at, 'allowAddresses', i], () => addressRange(text)) ?? [],
  )
  const hosts = new Map<string, string>()
  for (const [name, address] of Object.entries(upstream.hosts)) {
    const path = [...at, 'hosts', name]
    if (isIP(address) === 0) from.problem(path, 'expected an address', 'hosts maps a name to one address')
    const host = from.checked(path, () => hostName(name))
    if (host !== undefined) hosts.set(host, address)
  }
  return Object.freeze({ extraRoots, allowAddresses, hosts })
}

function readSessions(from: ConfigSources, raw: RawConfig, orgs: ReadonlyMap<string, Org>): Session[] {
  if (raw.sessions.length === 0) from.warn(['sessions'], 'there are no sessions: every relay is refused')
  const ids = new Set<string>()
  const idsByToken = new Map<string, string>()
  return raw.sessions.flatMap(({ id, token: source, org: orgName }, i) => {
    const at = ['sessions', i]
    from.checked([...at, 'id'], () => checkSessionId(id))
    if (ids.has(id)) from.problem([...at, 'id'], `the session ${JSON.stringify(id)} stands twice`)
    ids.add(id)
    const org = orgs.get(orgName)
    if (org === undefined) {
      const hint = didYouMean(orgName, [...orgs.keys()])
      from.problem([...at, 'org'], `there is no organisation ${JSON.stringify(orgName)}`, hint)
    }
    const token = from.secret([...at, 'token'], source)
    if (token === undefined) return []
    from.checked([...at, 'token'], () => checkToken(token))
    const twin = idsByToken.get(token.reveal())
    if (twin !== undefined) {
      from.problem(
        [...at, 'token'],
        `the same token as session ${JSON.stringify(twin)}`,
        'a token names one session',
      )
    }
    idsByToken.set(token.reveal(), id)
    return org === undefined ? [] : [Object.freeze({ id, token, org })]
  })
}

function isLoopback(host: string): boolean {
  return host === 'localhost' || host === '::1' || host.startsWith('127.')
}
