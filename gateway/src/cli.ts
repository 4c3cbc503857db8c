#!/usr/bin/env node
/** argv → calls; the only file that prints or exits. */
import { accessSync, constants, existsSync, statSync } from 'node:fs'
import { dirname } from 'node:path'
import { parseArgs } from 'node:util'
import { didYouMean } from './did-you-mean.js'
import type { Config } from './index.js'
import { createLog, type LogFormat } from './log.js'
import { VERSION } from './version.js'

/** Exit statuses, as sysexits(3) numbers them. */
const EXIT = { ok: 0, usage: 64, unavailable: 69, internal: 70, cannotCreate: 73, config: 78 } as const

const HELP = `upstreamproxy-gateway ${VERSION}: the organisation's side of upstreamproxy

It takes tunnels from relays, opens the TLS inside them, applies the organisation's rules, adds
headers that the sandbox never holds, forwards to the real origin, and records every request.

  upstreamproxy-gateway serve --config FILE    run until SIGTERM or SIGINT, then drain
  upstreamproxy-gateway check --config FILE    say what is wrong with a configuration, and exit
  upstreamproxy-gateway demo                   see the whole path work on this machine, and exit

Options
  --config FILE             the configuration, in YAML
  --log-format text|json    of the log on standard error (default: text)
  --help, --version

A first configuration (gateway.yaml)

  listen: 127.0.0.1:8443
  state: ./gateway-state            # the CA is made here at the first start
  audit: { file: audit.jsonl }
  sessions:
    - { id: session-1, token: { env: SESSION_1_TOKEN }, org: acme }
  orgs:
    acme:
      default: deny
      secrets: { api-key: { env: ACME_API_KEY } }
      rules:
        - match: { host: api.example.com, path: "/v1/**", methods: [GET, POST] }
          set: { authorization: "Bearer \${secret:api-key}" }

  SESSION_1_TOKEN=… ACME_API_KEY=… upstreamproxy-gateway serve --config gateway.yaml

Once it is ready, serve prints one line of JSON: {"event":"ready","url":…,"caFingerprint":…}.
The url is what a relay takes as its base URL (CCR_UPSTREAM_PROXY_BASE_URL).

Exit status: 0 done, 64 wrong usage, 69 the port is not to be had, 70 a bug, 73 the CA or the
audit file cannot be opened, 78 the configuration is wrong.
`

class UsageError extends Error {}

interface Arguments {
  readonly command: 'serve' | 'check' | 'demo' | 'help' | 'version'
  readonly config: string | undefined
  readonly logFormat: LogFormat
}

async function main(argv: readonly string[]): Promise<number> {
  const given = readArguments(argv)
  switch (given.command) {
    case 'help':
      process.stdout.write(HELP)
      return EXIT.ok
    case 'version':
      process.stdout.write(`${VERSION}\n`)
      return EXIT.ok
    case 'check':
      return check(configFile(given))
    case 'serve':
      return serve(configFile(given), given.logFormat)
    case 'demo': {
      // Only the demo needs what it is made of.
      const { runDemo } = await import('./demo.js')
      return runDemo()
    }
  }
}

async function check(file: string): Promise<number> {
  const { loadConfig, problemText } = await library()
  const config = loadConfig(file, process.env)
  const lines = config.warnings.map((problem) => `warning: ${problemText(problem)}`)
  const obstacle = auditObstacle(config)
  if (obstacle !== undefined) {
    process.stderr.write(`${[...lines, obstacle].join('\n')}\n`)
    return EXIT.config
  }
  if (lines.length > 0) process.stderr.write(`${lines.join('\n')}\n`)
  const rules = [...config.orgs.values()].reduce((sum, org) => sum + org.rules.length, 0)
  process.stdout.write(
    `${file}: good: ${config.sessions.length} sessions, ${config.orgs.size} organisations, ${rules} rules\n`,
  )
  return EXIT.ok
}

// Without making anything: check may run as another user than serve, elsewhere.
function auditObstacle({ audit: { file } }: Config): string | undefined {
  if (!existsSync(file)) return undefined
  if (statSync(file).isDirectory()) return `audit.file: ${file} is a folder`
  try {
    accessSync(file, constants.W_OK)
    return undefined
  } catch {
    return `audit.file: ${file} cannot be written (mode or owner of it, or of ${dirname(file)})`
  }
}

async function serve(file: string, logFormat: LogFormat): Promise<number> {
  const { loadConfig, startGateway } = await library()
  const log = createLog({ format: logFormat })
  const config = loadConfig(file, process.env)
  const stopped = firstSignal()
  const gateway = await startGateway(config, { log })
  const { url, caFingerprint } = gateway
  process.stdout.write(`${JSON.stringify({ event: 'ready', url, caFingerprint })}\n`)
  const signal = await stopped
  log.info('draining', { signal, deadlineMs: config.limits.drainMs })
  await gateway.close()
  log.info('stopped')
  return EXIT.ok
}

// A second signal finds no listener any more and ends the process at once.
function firstSignal(): Promise<NodeJS.Signals> {
  return new Promise((resolve) => {
    const heard = (signal: NodeJS.Signals) => {
      process.off('SIGTERM', heard).off('SIGINT', heard)
      resolve(signal)
    }
    process.on('SIGTERM', heard).on('SIGINT', heard)
  })
}

function readArguments(argv: readonly string[]): Arguments {
  const { values, positionals, tokens } = parseArgs({
    args: [...argv],
    options: OPTIONS,
    allowPositionals: true,
    strict: false,
    tokens: true,
  })
  for (const token of tokens) {
    if (token.kind !== 'option') continue
    const known = Object.keys(OPTIONS)
    if (!known.includes(token.name))
      throw unknown(
        'option',
        token.rawName,
        known.map((name) => `--${name}`),
      )
    const takesValue = OPTIONS[token.name as keyof typeof OPTIONS].type === 'string'
    if (takesValue && (token.value === undefined || token.value === '')) {
      throw new UsageError(`${token.rawName} takes a value`)
    }
    if (!takesValue && token.value !== undefined) throw new UsageError(`${token.rawName} takes no value`)
  }
  const logFormat = values['log-format'] ?? 'text'
  if (logFormat !== 'text' && logFormat !== 'json') throw new UsageError('--log-format is text or json')
  const config = values['config'] as string | undefined
  if (values['help'] === true) return { command: 'help', config, logFormat }
  if (values['version'] === true) return { command: 'version', config, logFormat }
  const [command, ...more] = positionals
  if (command === undefined) throw new UsageError('which command? serve, check or demo')
  if (!isCommand(command)) throw unknown('command', command, COMMANDS)
  if (more.length > 0) throw new UsageError(`${command} takes no ${JSON.stringify(more[0])}`)
  return { command, config, logFormat }
}

function configFile({ command, config }: Arguments): string {
  if (config === undefined) throw new UsageError(`${command} needs --config FILE`)
  return config
}

function unknown(what: string, word: string, known: readonly string[]): UsageError {
  const hint = didYouMean(word, known) ?? `known: ${known.join(', ')}`
  return new UsageError(`unknown ${what} ${JSON.stringify(word)}: ${hint}`)
}

function isCommand(word: string): word is (typeof COMMANDS)[number] {
  return (COMMANDS as readonly string[]).includes(word)
}

async function explain(error: unknown): Promise<number> {
  const [status, text] =
    error instanceof UsageError ? [EXIT.usage, `${error.message} (see --help)`] : await explanation(error)
  process.stderr.write(`upstreamproxy-gateway: ${text}\n`)
  return status
}

async function explanation(error: unknown): Promise<[status: number, text: string]> {
  const { CaError, ConfigError, StartError } = await library()
  if (error instanceof ConfigError) return [EXIT.config, `the configuration is wrong\n${error.message}`]
  if (error instanceof CaError) return [EXIT.cannotCreate, error.message]
  if (error instanceof StartError) {
    return [error.part === 'listen' ? EXIT.unavailable : EXIT.cannotCreate, error.message]
  }
  return [EXIT.internal, error instanceof Error ? (error.stack ?? error.message) : String(error)]
}

// Loaded only where it is used: --help and a typo answer at once.
function library(): Promise<typeof import('./index.js')> {
  return import('./index.js')
}

const COMMANDS = ['serve', 'check', 'demo'] as const
const OPTIONS = {
  config: { type: 'string' },
  'log-format': { type: 'string' },
  help: { type: 'boolean', short: 'h' },
  version: { type: 'boolean' },
} as const

process.exitCode = await main(process.argv.slice(2)).catch(explain)
