/** Every option as data: what parses them, what `--help` prints and what the documentation lists read this table. */
import { LOG_LEVELS } from '../log.js'
import type { GivenOptions } from '../options.js'

export interface OptionEntry {
  /** property of GivenOptions */
  readonly name: OptionName
  /** flag of the command line, with its dashes */
  readonly flag: string
  /** environment variable */
  readonly env: string
  /** variables that are asked after `env`, in this order */
  readonly fallbackEnv?: readonly string[]
  /** `list`: comma separated in the environment, repeatable on the command line */
  readonly kind: 'string' | 'flag' | 'number' | 'list' | 'choice'
  readonly choices?: readonly string[]
  /** stands for the value in `--help` */
  readonly placeholder?: string
  readonly defaultText: string
  readonly help: string
}

/** `log` is a function, so neither a flag nor a variable can say it. */
export type OptionName = Exclude<keyof GivenOptions, 'log'>

export const ENV_PROFILES = ['core', 'full'] as const
export type EnvProfile = (typeof ENV_PROFILES)[number]

export const HARDENING_LEVELS = ['strict', 'default', 'off'] as const
export type Hardening = (typeof HARDENING_LEVELS)[number]

/** auto: the native one where the addon loads on Node, else the portable one */
export const ENGINES = ['auto', 'node', 'native'] as const
export type EngineChoice = (typeof ENGINES)[number]

export const LOG_FORMATS = ['text', 'json'] as const

export const OPTION_TABLE: readonly OptionEntry[] = [
  {
    name: 'baseUrl',
    flag: '--base-url',
    env: 'CCR_UPSTREAM_PROXY_BASE_URL',
    fallbackEnv: ['ANTHROPIC_BASE_URL'],
    kind: 'string',
    placeholder: 'URL',
    defaultText: 'https://api.anthropic.com',
    help: 'where the gateway is; http:// for a loopback host alone',
  },
  {
    name: 'gatewayCa',
    flag: '--gateway-ca',
    env: 'UPSTREAMPROXY_GATEWAY_CA',
    kind: 'string',
    placeholder: 'FILE',
    defaultText: "the system's roots alone",
    help: 'PEM certificates that vouch for the gateway, besides the roots of the system',
  },
  {
    name: 'allowPlainGateway',
    flag: '--allow-plain-gateway',
    env: 'UPSTREAMPROXY_ALLOW_PLAIN_GATEWAY',
    kind: 'flag',
    defaultText: 'no',
    help: 'take an http:// base URL for any host: the token then crosses the network readable',
  },
  {
    name: 'sessionId',
    flag: '--session-id',
    env: 'CLAUDE_CODE_REMOTE_SESSION_ID',
    kind: 'string',
    placeholder: 'ID',
    defaultText: 'none: it must be given',
    help: 'the session that the token belongs to; 1 to 256 visible ASCII characters, no colon',
  },
  {
    name: 'tokenFile',
    flag: '--token-file',
    env: 'UPSTREAMPROXY_TOKEN_FILE',
    kind: 'string',
    placeholder: 'FILE',
    defaultText: '/run/ccr/session_token',
    help: 'holds the token; read once, and removed as soon as the relay listens',
  },
  {
    name: 'unlinkOnFailure',
    flag: '--unlink-on-failure',
    env: 'UPSTREAMPROXY_UNLINK_ON_FAILURE',
    kind: 'flag',
    defaultText: 'no',
    help: 'remove the token file even where the relay could not be started: no restart can try again',
  },
  {
    name: 'hardening',
    flag: '--hardening',
    env: 'UPSTREAMPROXY_HARDENING',
    kind: 'choice',
    choices: HARDENING_LEVELS,
    defaultText: 'default',
    help: 'guard the memory that holds the token; strict: or do not start; off: leave the process debuggable',
  },
  {
    name: 'engine',
    flag: '--engine',
    env: 'UPSTREAMPROXY_ENGINE',
    kind: 'choice',
    choices: ENGINES,
    defaultText: 'auto',
    help: 'what carries the bytes: the portable engine (node) or the native one; auto: native where it can be had',
  },
  {
    name: 'relay',
    flag: '--relay-thread',
    env: 'UPSTREAMPROXY_RELAY_THREAD',
    kind: 'flag',
    defaultText: 'yes in a program on Node; no in run and serve',
    help: 'the relay in a thread of its own, which a busy main thread cannot stop; run and serve have none to protect',
  },
  {
    name: 'prewarm',
    flag: '--prewarm',
    env: 'UPSTREAMPROXY_PREWARM',
    kind: 'number',
    placeholder: 'N',
    defaultText: '0',
    help: 'hold N WebSockets to the gateway upgraded in advance, 64 at most: a CONNECT then costs one round trip',
  },
  {
    name: 'caBundle',
    flag: '--ca-bundle',
    env: 'UPSTREAMPROXY_CA_BUNDLE',
    kind: 'string',
    placeholder: 'FILE',
    defaultText: '~/.ccr/ca-bundle.crt',
    help: 'where the joined CA bundle for clients is written',
  },
  {
    name: 'systemCa',
    flag: '--system-ca',
    env: 'UPSTREAMPROXY_SYSTEM_CA',
    kind: 'string',
    placeholder: 'FILE',
    defaultText: "the usual places, then Node's own roots",
    help: "the system's CA bundle",
  },
  {
    name: 'port',
    flag: '--port',
    env: 'UPSTREAMPROXY_PORT',
    kind: 'number',
    placeholder: 'PORT',
    defaultText: '0: any free one',
    help: 'where the relay listens, on 127.0.0.1',
  },
  {
    name: 'envProfile',
    flag: '--env-profile',
    env: 'UPSTREAMPROXY_ENV_PROFILE',
    kind: 'choice',
    choices: ENV_PROFILES,
    defaultText: 'full',
    help: 'which variables children get: what most clients read (core), or more of them (full)',
  },
  {
    name: 'noProxy',
    flag: '--no-proxy',
    env: 'UPSTREAMPROXY_NO_PROXY',
    kind: 'list',
    placeholder: 'HOSTS',
    defaultText: 'none',
    help: 'hosts to reach directly, added to those of NO_PROXY and the built-in ones',
  },
  {
    name: 'envOverrides',
    flag: '--env-override',
    env: 'UPSTREAMPROXY_ENV_OVERRIDES',
    kind: 'list',
    placeholder: 'NAME[=VALUE]',
    defaultText: 'none',
    help: 'give children this value in place of ours; without =VALUE the variable is left as it was',
  },
  {
    name: 'logLevel',
    flag: '--log-level',
    env: 'UPSTREAMPROXY_LOG_LEVEL',
    kind: 'choice',
    choices: LOG_LEVELS,
    defaultText: 'warn',
    help: 'how much is logged to standard error',
  },
  {
    name: 'logFormat',
    flag: '--log-format',
    env: 'UPSTREAMPROXY_LOG_FORMAT',
    kind: 'choice',
    choices: LOG_FORMATS,
    defaultText: 'text',
    help: 'how a line of the log looks',
  },
  {
    name: 'limits',
    flag: '--limit',
    env: 'UPSTREAMPROXY_LIMITS',
    kind: 'list',
    placeholder: 'NAME=NUMBER',
    defaultText: 'see docs/configuration.md',
    help: "one of the relay's limits, such as maxTunnels=100",
  },
]
