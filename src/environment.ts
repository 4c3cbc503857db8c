/**
 * The environment for children, from the parent's.
 *
 * Rule 1: pure. Nothing is read but the arguments, and nothing changed.
 * Rule 2: HTTP_PROXY is never set: the relay carries HTTPS only. An inherited one stays as it is.
 * Rule 3: both spellings of a proxy variable say the same.
 * Rule 4: no variable carries the token (invariant 2).
 */
import { VARIABLES, type Variable } from './environment/variables.js'
import type { EnvProfile } from './options.js'
import type { Token } from './token.js'

export { VARIABLES, type Variable } from './environment/variables.js'

export type Environment = Readonly<Record<string, string>>

export interface EnvironmentSettings {
  /** the relay's */
  readonly port: number
  /** the joined bundle */
  readonly caBundlePath: string
  /** the gateway is never reached through the relay */
  readonly baseUrl: URL
  readonly envProfile: EnvProfile
  /** added to the parent's and the built-in ones */
  readonly noProxy: readonly string[]
  /** a value in place of ours; null leaves the variable as the parent has it */
  readonly envOverrides: Readonly<Record<string, string | null>>
}

/** The parent's environment with the variables of the profile over it. */
export function childEnvironment(parent: Environment, settings: EnvironmentSettings): Record<string, string> {
  const env: Record<string, string> = { ...parent }
  for (const variable of variablesOf(settings.envProfile))
    env[variable.name] = textFor(variable, parent, settings)
  for (const [name, value] of Object.entries(settings.envOverrides)) {
    if (value !== null) env[name] = value
    else if (parent[name] === undefined) delete env[name]
    else env[name] = parent[name]
  }
  return env
}

/** The parent's CA files that the profile puts its own in place of: they are joined into it, so that no root is lost. */
export function replacedCaFiles(
  parent: Environment,
  profile: EnvProfile,
): readonly { variable: string; path: string }[] {
  return variablesOf(profile).flatMap(({ name, value }) => {
    const path = parent[name]
    return value === 'bundle' && path ? [{ variable: name, path }] : []
  })
}

/** Whether a NO_PROXY has the `*` by which clients go around every proxy. */
export function bypassesEverything(env: Environment): boolean {
  return hostsIn(env['NO_PROXY']).includes('*') || hostsIn(env['no_proxy']).includes('*')
}

/**
 * The names of the variables whose value holds the token. A token under 16 characters cannot be told from ordinary
 * text (`1` would be everywhere), so it is not looked for.
 */
export function carriersOf(token: Token, env: Environment): readonly string[] {
  const secret = token.reveal()
  if (secret.length < SHORTEST_TELLING) return []
  return Object.keys(env).filter((name) => env[name]?.includes(secret))
}

function variablesOf(profile: EnvProfile): readonly Variable[] {
  return VARIABLES.filter((variable) => profile === 'full' || variable.profile === 'core')
}

function textFor({ value }: Variable, parent: Environment, settings: EnvironmentSettings): string {
  if (typeof value === 'object') return value.literal
  if (value === 'proxy') return `http://127.0.0.1:${settings.port}`
  if (value === 'bundle') return settings.caBundlePath
  return directHosts(parent, settings)
}

function directHosts(parent: Environment, { baseUrl, noProxy }: EnvironmentSettings): string {
  const gateway = baseUrl.hostname.startsWith('[')
    ? [baseUrl.hostname.slice(1, -1), baseUrl.hostname]
    : [baseUrl.hostname]
  return [
    ...new Set([
      ...DIRECT,
      ...gateway,
      ...hostsIn(parent['NO_PROXY']),
      ...hostsIn(parent['no_proxy']),
      ...noProxy,
    ]),
  ].join(',')
}

function hostsIn(list: string | undefined): readonly string[] {
  return (list ?? '').split(/[\s,]+/).filter((host) => host !== '')
}

// What never goes through the relay. Clients differ in what they understand: some know CIDR, some a leading dot, some
// `*.`, some brackets around IPv6.
const DIRECT = [
  'localhost',
  '127.0.0.1',
  '127.0.0.0/8',
  '::1',
  '[::1]',
  '10.0.0.0/8',
  '172.16.0.0/12',
  '192.168.0.0/16',
  '169.254.0.0/16',
  'anthropic.com',
  '.anthropic.com',
  '*.anthropic.com',
]

const SHORTEST_TELLING = 16
