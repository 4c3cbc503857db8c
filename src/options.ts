/**
 * Arguments and environment → one frozen Options.
 *
 * Rule 1: parsed once, here; nothing else reads the environment for a setting.
 * Rule 2: an argument wins over the environment, the environment over the default; an empty variable is no variable.
 * Rule 3: what cannot be used is an error, never replaced by the default in silence (the log's own settings excepted:
 *         somebody has to report the error).
 */
import { homedir } from 'node:os'
import { join } from 'node:path'
import { ProxyError } from './errors.js'
import type { Limits } from './limits.js'
import { LOG_LEVELS, type LogFormat, type LogLevel } from './log.js'
import { baseUrlOf } from './options/base-url.js'
import { limitsOf } from './options/limits.js'
import { nearest } from './options/nearest.js'
import { type RelaySettings, relayOf } from './options/relay.js'
import {
  ENGINES,
  ENV_PROFILES,
  type EngineChoice,
  type EnvProfile,
  HARDENING_LEVELS,
  type Hardening,
  LOG_FORMATS,
  OPTION_TABLE,
  type OptionName,
} from './options/table.js'
import {
  choiceOf,
  expected,
  flagOf,
  isTruthy,
  listOf,
  numberOf,
  pairsOf,
  type Setting,
  textOf,
} from './options/values.js'

export {
  type EngineChoice,
  type EnvProfile,
  type Hardening,
  OPTION_TABLE,
  type OptionEntry,
  type OptionName,
} from './options/table.js'

/** What a caller may set; each is described in OPTION_TABLE. `undefined` is as good as not there. */
export interface GivenOptions {
  readonly baseUrl?: string | URL | undefined
  readonly gatewayCa?: string | undefined
  readonly allowPlainGateway?: boolean | undefined
  readonly sessionId?: string | undefined
  readonly tokenFile?: string | undefined
  readonly unlinkOnFailure?: boolean | undefined
  readonly hardening?: Hardening | undefined
  readonly engine?: EngineChoice | undefined
  readonly prewarm?: number | undefined
  /** `thread`: in a worker thread, so that tunnels go on while this one is busy. Where nothing is said: on Node, if one
   *  can be had. A boolean says `thread` alone */
  readonly relay?: { readonly thread?: boolean | undefined } | boolean | undefined
  readonly caBundle?: string | undefined
  readonly systemCa?: string | undefined
  readonly port?: number | undefined
  readonly envProfile?: EnvProfile | undefined
  readonly noProxy?: readonly string[] | undefined
  /** a value in place of ours; null leaves the variable as the parent has it. As a list: `NAME=VALUE`, `NAME` */
  readonly envOverrides?: Readonly<Record<string, string | null | undefined>> | readonly string[] | undefined
  readonly logLevel?: LogLevel | undefined
  readonly logFormat?: LogFormat | undefined
  /** over the defaults (DEFAULT_LIMITS). As a list: `NAME=NUMBER` */
  readonly limits?: Readonly<Partial<Limits>> | readonly string[] | undefined
  /** takes each line of the log, its newline included, in place of standard error */
  readonly log?: ((line: string) => void) | undefined
}

/** What init works with. */
export interface Options {
  readonly baseUrl: URL
  readonly gatewayCa: string | undefined
  /** as it was given; `sessionIdOf` says whether it can be used */
  readonly sessionId: string | undefined
  readonly tokenFile: string
  readonly unlinkOnFailure: boolean
  readonly hardening: Hardening
  readonly engine: EngineChoice
  /** 0: none */
  readonly prewarm: number
  readonly relay: RelaySettings
  /** undefined where there is no home folder to put it in */
  readonly caBundle: string | undefined
  readonly systemCa: string | undefined
  /** 0: any free one */
  readonly port: number
  readonly envProfile: EnvProfile
  readonly noProxy: readonly string[]
  /** null: left as the parent has it */
  readonly envOverrides: Readonly<Record<string, string | null>>
  readonly logLevel: LogLevel
  readonly logFormat: LogFormat
  readonly limits: Limits
}

/**
 * Checks everything that was set, needed or not.
 * @throws ProxyError ERR_OPTION, ERR_OPTION_UNKNOWN
 */
export function parseOptions(given: GivenOptions, env: NodeJS.ProcessEnv): Options {
  if (typeof given !== 'object' || given === null) throw expected('options', 'an object', given)
  const names: readonly string[] = [...OPTION_TABLE.map(({ name }) => name), 'log']
  for (const name of Object.keys(given)) if (!names.includes(name)) throw nearest('option', name, names)
  if (given.log !== undefined && typeof given.log !== 'function')
    throw expected('log', 'a function', given.log)

  const read = <T>(name: OptionName, parse: (setting: Setting) => T): T | undefined => {
    const setting = settingOf(name, given, env)
    return setting && parse(setting)
  }
  const allowPlain = read('allowPlainGateway', flagOf) ?? false
  const options: Options = {
    baseUrl: read('baseUrl', (setting) => baseUrlOf(setting, allowPlain)) ?? new URL(DEFAULT_BASE_URL),
    gatewayCa: read('gatewayCa', textOf),
    sessionId: read('sessionId', ({ value, label }) => {
      if (typeof value === 'string') return value
      throw expected(label, 'a text', value)
    }),
    tokenFile: read('tokenFile', textOf) ?? DEFAULT_TOKEN_FILE,
    unlinkOnFailure: read('unlinkOnFailure', flagOf) ?? false,
    hardening: read('hardening', (setting) => choiceOf(setting, HARDENING_LEVELS)) ?? 'default',
    prewarm: read('prewarm', (setting) => numberOf(setting, 0, MAX_PREWARMED)) ?? 0,
    engine: read('engine', (setting) => choiceOf(setting, ENGINES)) ?? 'auto',
    relay: Object.freeze(read('relay', relayOf) ?? { thread: 'auto' }),
    caBundle: read('caBundle', textOf) ?? inHome(env, '.ccr/ca-bundle.crt'),
    systemCa: read('systemCa', textOf),
    port: read('port', (setting) => numberOf(setting, 0, 65535, portHint(setting))) ?? 0,
    envProfile: read('envProfile', (setting) => choiceOf(setting, ENV_PROFILES)) ?? 'full',
    noProxy: Object.freeze(read('noProxy', listOf) ?? []),
    envOverrides: Object.freeze(read('envOverrides', overridesOf) ?? {}),
    logLevel: read('logLevel', (setting) => choiceOf(setting, LOG_LEVELS)) ?? DEFAULT_LOG.level,
    logFormat: read('logFormat', (setting) => choiceOf(setting, LOG_FORMATS)) ?? DEFAULT_LOG.format,
    limits: limitsOf(settingOf('limits', given, env)),
  }
  return Object.freeze(options)
}

/** The log's settings alone. Never throws: an unusable one means its default, since the error has to be logged. */
export function parseLogOptions(
  given: GivenOptions,
  env: NodeJS.ProcessEnv,
): { level: LogLevel; format: LogFormat } {
  const pick = <T extends string>(name: OptionName, choices: readonly T[], fallback: T): T => {
    const value = settingOf(name, given, env)?.value
    return choices.find((choice) => choice === value) ?? fallback
  }
  return {
    level: pick('logLevel', LOG_LEVELS, DEFAULT_LOG.level),
    format: pick('logFormat', LOG_FORMATS, DEFAULT_LOG.format),
  }
}

/** The guard: the variables that are missing, so that nothing is to be done; none where the proxy is enabled. */
export function missingGuards(env: NodeJS.ProcessEnv): readonly string[] {
  return GUARDS.filter((name) => !isTruthy(env[name]))
}

/**
 * The session id, where it can be used: it travels as the user of a Basic credential, which a colon would end.
 * @throws ProxyError ERR_SESSION_ID
 */
export function sessionIdOf({ sessionId }: Options): string {
  if (sessionId === undefined || sessionId === '') {
    throw new ProxyError('ERR_SESSION_ID', 'the proxy is enabled, but there is no session id', {
      hint: 'set CLAUDE_CODE_REMOTE_SESSION_ID',
    })
  }
  if (/^[!-9;-~]{1,256}$/.test(sessionId)) return sessionId
  throw new ProxyError(
    'ERR_SESSION_ID',
    `the session id (${sessionId.length} characters) is not 1 to 256 visible ASCII characters without a colon`,
  )
}

function settingOf(name: OptionName, given: GivenOptions, env: NodeJS.ProcessEnv): Setting | undefined {
  const value: unknown = given?.[name]
  if (value !== undefined) return { value, label: name }
  const entry = OPTION_TABLE.find((each) => each.name === name)!
  const label = [entry.env, ...(entry.fallbackEnv ?? [])].find((variable) => env[variable])
  return label === undefined ? undefined : { value: env[label], label }
}

function overridesOf(setting: Setting): Record<string, string | null> {
  const overrides: Record<string, string | null> = {}
  for (const [name, value] of pairsOf(setting)) {
    if (value === undefined) continue
    if (!/^[^=\0]+$/.test(name)) throw expected(setting.label, "a variable's name", name)
    if (value !== null && (typeof value !== 'string' || value.includes('\0')))
      throw expected(`${setting.label}: ${name}`, 'a text or null', value)
    overrides[name] = value
  }
  return overrides
}

function inHome(env: NodeJS.ProcessEnv, path: string): string | undefined {
  try {
    return join(env['HOME'] || homedir(), path)
  } catch {
    // A user without an entry in the password database, as containers like to have: there is no home.
    return undefined
  }
}

function portHint({ value }: Setting): string | undefined {
  if (!String(value).startsWith('tcp://')) return undefined
  return 'Kubernetes sets this for a service named upstreamproxy: enableServiceLinks: false'
}

const MAX_PREWARMED = 64
const GUARDS = ['CLAUDE_CODE_REMOTE', 'CCR_UPSTREAM_PROXY_ENABLED']
const DEFAULT_BASE_URL = 'https://api.anthropic.com'
const DEFAULT_TOKEN_FILE = '/run/ccr/session_token'
const DEFAULT_LOG = { level: 'warn', format: 'text' } as const
