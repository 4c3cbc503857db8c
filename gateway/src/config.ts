/**
 * The configuration: YAML text in, one frozen Config out, or every problem with its line and column.
 *
 * Rule 1: nothing is used that was not checked; unknown keys are refused.
 * Rule 2: values of secrets are in no message; their names are.
 * Rule 3: files are named relative to the configuration's own folder.
 */
import { createPrivateKey, X509Certificate } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { METHODS } from 'node:http'
import { isIP } from 'node:net'
import { dirname, resolve } from 'node:path'
import { createSecureContext } from 'node:tls'
import { ConfigError, type ConfigPath, didYouMean, type Problem, YamlSource } from './config-problems.js'
import {
  ConfigSchema,
  knownKeys,
  type RawConfig,
  type RawRule,
  type RawSecretSource,
} from './config-schema.js'
import {
  addressRange,
  checkSessionId,
  checkToken,
  headerName,
  headerValue,
  hostName,
  hostPattern,
  type ListenAddress,
  listenAddress,
  UnknownSecret,
  ValueError,
} from './config-values.js'
import { DEFAULT_LIMITS, type Limits } from './limits.js'
import { errorText } from './log.js'
import { PathError, PathPattern } from './path-pattern.js'
import type { InjectedHeader, Org, Rule } from './policy.js'
import { Secret } from './secret.js'
import type { Session } from './sessions.js'

export interface PemPair {
  /** PEM: a certificate, its chain after it */
  readonly cert: string
  /** PEM */
  readonly key: Secret
}

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
    readonly allowAddresses: readonly { address: string; prefix: number; family: 'ipv4' | 'ipv6' }[]
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

export interface ConfigSurroundings {
  /** name of the text in messages (default: gateway.yaml) */
  readonly file?: string
  /** folder that relative paths start from */
  readonly folder: string
  /** where `env:` secrets come from */
  readonly env: Readonly<Record<string, string | undefined>>
}

/** Reads and checks a configuration file. Throws ConfigError. */
export function loadConfig(file: string, env: ConfigSurroundings['env']): Config {
  let text: string
  try {
    text = readFileSync(file, 'utf8')
  } catch (error) {
    throw new ConfigError([{ file, line: 1, column: 1, message: `cannot be read: ${errorText(error)}` }])
  }
  return parseConfig(text, { file, folder: dirname(resolve(file)), env })
}

/** Checks a configuration text. Throws ConfigError. */
export function parseConfig(text: string, surroundings: ConfigSurroundings): Config {
  const source = new YamlSource(text, surroundings.file ?? 'gateway.yaml')
  if (source.problems.length > 0) throw new ConfigError(source.problems)
  const shape = ConfigSchema.safeParse(source.value)
  if (!shape.success)
    throw new ConfigError(shape.error.issues.flatMap((issue) => shapeProblems(issue, source)))
  const reader = new Reader(source, surroundings)
  const config = reader.config(shape.data)
  if (config === undefined || reader.problems.length > 0) throw new ConfigError(reader.problems)
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
    source.atKey(
      [...path, key],
      `unknown key ${JSON.stringify(key)}`,
      didYouMean(key, known) ?? `known here: ${known.join(', ')}`,
    ),
  )
}

/** Turns a value of the right shape into a Config, collecting what is wrong with its meaning. */
class Reader {
  readonly problems: Problem[] = []
  readonly #warnings: Problem[] = []
  readonly #source: YamlSource
  readonly #surroundings: ConfigSurroundings

  constructor(source: YamlSource, surroundings: ConfigSurroundings) {
    this.#source = source
    this.#surroundings = surroundings
  }

  config(raw: RawConfig): Config | undefined {
    const listen = this.#checked(['listen'], () => listenAddress(raw.listen))
    const tls = raw.tls && this.#pemPair(['tls'], raw.tls)
    const ca = raw.ca && this.#pemPair(['ca'], raw.ca)
    const orgs = new Map(Object.entries(raw.orgs).map(([name, org]) => [name, this.#org(name, org)]))
    const upstream = this.#upstream(raw)
    const sessions = this.#sessions(raw, orgs)
    if (listen === undefined) return undefined
    if (raw.tls === undefined && !isLoopback(listen.host)) {
      this.#warn(
        ['listen'],
        'without tls, tokens cross the network in the clear',
        'is there TLS in front of it?',
      )
    }
    return Object.freeze({
      listen,
      tls,
      ca,
      state: this.#path(raw.state),
      upstream,
      audit: Object.freeze({
        file: this.#path(raw.audit.file ?? `${raw.state}/audit.jsonl`),
        onError: raw.audit.onError,
      }),
      limits: this.#limits(raw.limits),
      sessions,
      orgs,
      warnings: this.#warnings,
    })
  }

  #limits(given: RawConfig['limits']): Limits {
    const set = Object.entries(given).filter(([, value]) => value !== undefined)
    const limits = Object.freeze({ ...DEFAULT_LIMITS, ...Object.fromEntries(set) }) as Limits
    if (limits.downLowBytes > limits.downHighBytes) {
      this.#problem(['limits', 'downLowBytes'], 'is over downHighBytes: writing would never go on')
    }
    return limits
  }

  #upstream({ upstream }: RawConfig): Config['upstream'] {
    const at: ConfigPath = ['upstream']
    const extraRoots =
      upstream.caFile === undefined ? undefined : this.#certificates([...at, 'caFile'], upstream.caFile)
    const allowAddresses = upstream.allowAddresses.flatMap(
      (text, i) => this.#checked([...at, 'allowAddresses', i], () => addressRange(text)) ?? [],
    )
    const hosts = new Map<string, string>()
    for (const [name, address] of Object.entries(upstream.hosts)) {
      const path = [...at, 'hosts', name]
      if (isIP(address) === 0) this.#problem(path, 'expected an address', 'hosts maps a name to one address')
      const host = this.#checked(path, () => hostName(name))
      if (host !== undefined) hosts.set(host, address)
    }
    return Object.freeze({ extraRoots, allowAddresses, hosts })
  }

  #sessions(raw: RawConfig, orgs: ReadonlyMap<string, Org>): Session[] {
    const ids = new Set<string>()
    const tokens = new Map<string, string>()
    if (raw.sessions.length === 0) this.#warn(['sessions'], 'there are no sessions: every relay is refused')
    return raw.sessions.flatMap(({ id, token: source, org: orgName }, i) => {
      const at = ['sessions', i]
      this.#checked([...at, 'id'], () => checkSessionId(id))
      if (ids.has(id)) this.#problem([...at, 'id'], `the session ${JSON.stringify(id)} stands twice`)
      ids.add(id)
      const org = orgs.get(orgName)
      if (org === undefined) {
        const hint = didYouMean(orgName, [...orgs.keys()])
        this.#problem([...at, 'org'], `there is no organisation ${JSON.stringify(orgName)}`, hint)
      }
      const token = this.#secret([...at, 'token'], source)
      if (token === undefined || org === undefined) return []
      this.#checked([...at, 'token'], () => checkToken(token))
      const twin = tokens.get(token.reveal())
      if (twin !== undefined) {
        this.#problem(
          [...at, 'token'],
          `the same token as session ${JSON.stringify(twin)}: it names one session only`,
        )
      }
      tokens.set(token.reveal(), id)
      return [Object.freeze({ id, token, org })]
    })
  }

  #org(name: string, raw: RawConfig['orgs'][string]): Org {
    const at = ['orgs', name]
    const secrets = new Map(
      Object.entries(raw.secrets).map(([secret, source]) => [
        secret,
        this.#secret([...at, 'secrets', secret], source),
      ]),
    )
    const rules = raw.rules.flatMap((rule, i) => this.#rule([...at, 'rules', i], i + 1, rule, secrets) ?? [])
    return Object.freeze({ name, default: raw.default, rules: Object.freeze(rules) })
  }

  #rule(
    at: ConfigPath,
    number: number,
    raw: RawRule,
    secrets: ReadonlyMap<string, Secret | undefined>,
  ): Rule | undefined {
    const { match, action = 'allow', set = {} } = raw
    const host = this.#checked([...at, 'match', 'host'], () => hostPattern(match.host))
    const pathText = match.path
    const path =
      pathText === undefined
        ? undefined
        : this.#checked([...at, 'match', 'path'], () => new PathPattern(pathText))
    match.methods?.forEach((method, i) => {
      if (METHOD_NAMES.includes(method)) return
      const hint = didYouMean(
        method.toLowerCase(),
        METHOD_NAMES.map((name) => name.toLowerCase()),
      )
      this.#problem([...at, 'match', 'methods', i], 'not a method that is forwarded', hint?.toUpperCase())
    })
    if (action === 'deny' && raw.set !== undefined) {
      this.#problem([...at, 'set'], 'a rule that denies sets no headers')
    }
    const names = new Set<string>()
    const headers: InjectedHeader[] = []
    for (const [text, template] of Object.entries(set)) {
      const path = [...at, 'set', text]
      const name = this.#checked(path, () => headerName(text), 'key')
      const value = this.#headerValue(path, template, secrets)
      if (name === undefined) continue
      if (names.has(name)) this.#problem(path, `the header ${name} stands twice`)
      names.add(name)
      if (value !== undefined) headers.push(Object.freeze({ name, value }))
    }
    if (host === undefined) return undefined
    const methods = match.methods && new Set(match.methods)
    return Object.freeze({
      number,
      host,
      port: match.port,
      path,
      methods,
      action,
      set: Object.freeze(headers),
    })
  }

  #headerValue(at: ConfigPath, template: string, secrets: ReadonlyMap<string, Secret | undefined>) {
    try {
      return headerValue(template, secrets)
    } catch (error) {
      if (!(error instanceof ValueError)) throw error
      const hint = error instanceof UnknownSecret ? didYouMean(error.secret, [...secrets.keys()]) : error.hint
      this.#problem(at, error.message, hint)
      return undefined
    }
  }

  #secret(at: ConfigPath, { env, file }: RawSecretSource): Secret | undefined {
    if ((env === undefined) === (file === undefined)) {
      this.#problem(at, 'expected either env: NAME or file: PATH')
      return undefined
    }
    let value: string | undefined
    if (env !== undefined) {
      value = this.#surroundings.env[env]
      if (value === undefined) {
        this.#problem([...at, 'env'], `the environment variable ${env} is not set`)
        return undefined
      }
    } else {
      // Editors and `echo` end a file with a newline that is no part of the secret.
      value = this.#text([...at, 'file'], file!)?.replace(/\r?\n$/, '')
    }
    if (value === '') this.#problem(at, 'the secret is empty')
    return value === undefined || value === '' ? undefined : new Secret(value)
  }

  #pemPair(
    at: ConfigPath,
    { cert: certFile, key: keyFile }: { cert: string; key: string },
  ): PemPair | undefined {
    const cert = this.#certificates([...at, 'cert'], certFile)
    const keyText = this.#text([...at, 'key'], keyFile)
    if (cert === undefined || keyText === undefined) return undefined
    try {
      const key = createPrivateKey(keyText)
      if (!new X509Certificate(cert).checkPrivateKey(key)) {
        this.#problem([...at, 'key'], 'is not the key of the certificate beside it')
        return undefined
      }
      createSecureContext({ cert, key: keyText })
    } catch (error) {
      this.#problem([...at, 'key'], `not a usable private key in PEM: ${errorText(error)}`)
      return undefined
    }
    return Object.freeze({ cert, key: new Secret(keyText) })
  }

  // PEM text whose every block is a certificate.
  #certificates(at: ConfigPath, file: string): string | undefined {
    const text = this.#text(at, file)
    if (text === undefined) return undefined
    const blocks = text.match(/-----BEGIN CERTIFICATE-----[^-]*-----END CERTIFICATE-----/g) ?? []
    try {
      for (const block of blocks) new X509Certificate(block)
    } catch {
      this.#problem(at, 'holds a certificate that cannot be parsed')
      return undefined
    }
    if (blocks.length > 0) return text
    this.#problem(at, 'holds no certificate in PEM')
    return undefined
  }

  #text(at: ConfigPath, file: string): string | undefined {
    try {
      return readFileSync(this.#path(file), 'utf8')
    } catch (error) {
      this.#problem(at, `${file} cannot be read: ${errorText(error)}`)
      return undefined
    }
  }

  #path(file: string): string {
    return resolve(this.#surroundings.folder, file)
  }

  #checked<T>(at: ConfigPath, check: () => T, part: 'key' | 'value' = 'value'): T | undefined {
    try {
      return check()
    } catch (error) {
      if (!(error instanceof ValueError) && !(error instanceof PathError)) throw error
      const hint = error instanceof ValueError ? error.hint : undefined
      this.problems.push(
        part === 'key'
          ? this.#source.atKey(at, error.message, hint)
          : this.#source.at(at, error.message, hint),
      )
      return undefined
    }
  }

  #problem(at: ConfigPath, message: string, hint?: string): void {
    this.problems.push(this.#source.at(at, `${labelOf(at)}: ${message}`, hint))
  }

  #warn(at: ConfigPath, message: string, hint?: string): void {
    this.#warnings.push(this.#source.at(at, message, hint))
  }
}

function labelOf(at: ConfigPath): string {
  return at
    .map((step) => (typeof step === 'number' ? `[${step}]` : `.${step}`))
    .join('')
    .slice(1)
}

function isLoopback(host: string): boolean {
  return host === 'localhost' || host === '::1' || host.startsWith('127.')
}

const METHOD_NAMES: readonly string[] = METHODS.filter((method) => method !== 'CONNECT' && method !== 'TRACE')
