/**
 * argv → what is to be done.
 *
 * Rule 1: option parsing stops at the first word that is no option, or at `--`; what follows belongs to the
 *         command that is run, verbatim.
 * Rule 2: an option that does not exist is an error that names the nearest one; nothing is guessed.
 * Rule 3: no option takes a secret: argv is readable to every process of the machine.
 */
import { ProxyError } from '../errors.js'
import { type GivenOptions, OPTION_TABLE, parseOptions } from '../options.js'
import {
  COMMANDS,
  type Command,
  type CommandName,
  optionsOf,
  PROGRAM_OPTIONS,
  RUN_DRAIN_MS,
  SERVE_DRAIN_MS,
} from './commands.js'
import { readOptions, type Values } from './read-options.js'
import { unknownCommand } from './suggestions.js'

export type Invocation =
  | { readonly command: 'help'; readonly topic: CommandName | undefined }
  | { readonly command: 'version'; readonly json: boolean }
  | RunInvocation
  | ServeInvocation
  | StatusInvocation

export interface RunInvocation {
  readonly command: 'run'
  readonly given: GivenOptions
  readonly require: boolean
  readonly drainMs: number
  readonly program: string
  readonly args: readonly string[]
}

export interface ServeInvocation {
  readonly command: 'serve'
  readonly given: GivenOptions
  readonly require: boolean
  readonly drainMs: number
  readonly writeEnv: string | undefined
}

export interface StatusInvocation {
  readonly command: 'status'
  readonly url: string | undefined
  readonly json: boolean
}

/**
 * Reads the words after the program's name. The environment is asked only whether it makes an option of the command
 * line one that can be used.
 * @throws ProxyError ERR_USAGE, ERR_OPTION, ERR_OPTION_UNKNOWN
 */
export function parseArguments(words: readonly string[], env: NodeJS.ProcessEnv): Invocation {
  const { values, rest } = readOptions(words, PROGRAM_OPTIONS, undefined)
  const [name, ...after] = rest
  if (values['version']) return { command: 'version', json: values['json'] === true }
  if (values['help'])
    return { command: 'help', topic: name === undefined ? undefined : commandNamed(name).name }
  if (values['json'])
    throw new ProxyError('ERR_USAGE', '--json alone says nothing', { hint: 'upstreamproxy --version --json' })
  if (name === undefined)
    throw new ProxyError('ERR_USAGE', 'a command is missing', { hint: 'run, serve or status' })
  if (name === 'help')
    return { command: 'help', topic: after[0] === undefined ? undefined : commandNamed(after[0]).name }
  return parseCommand(commandNamed(name), after, env)
}

/** Finds the command that a usage error is about, so that its usage can be shown; undefined where there is none. */
export function commandIn(words: readonly string[]): CommandName | undefined {
  return COMMANDS.find(({ name }) => name === words[0])?.name
}

function parseCommand(command: Command, words: readonly string[], env: NodeJS.ProcessEnv): Invocation {
  const { values, rest } = readOptions(words, optionsOf(command), command)
  if (values['help']) return { command: 'help', topic: command.name }
  const own = values as OwnValues
  if (command.name === 'run') {
    const [program, ...args] = rest
    if (program === undefined) throw new ProxyError('ERR_USAGE', 'run needs a COMMAND')
    return {
      command: 'run',
      given: givenOptions(command, values, env),
      require: own.require ?? false,
      drainMs: own.drain ?? RUN_DRAIN_MS,
      program,
      args,
    }
  }
  if (rest[0] !== undefined) {
    throw new ProxyError(
      'ERR_USAGE',
      `${command.name} takes no arguments, and got ${JSON.stringify(rest[0])}`,
    )
  }
  if (command.name === 'status') return { command: 'status', url: own.url, json: own.json ?? false }
  return {
    command: 'serve',
    given: givenOptions(command, values, env),
    require: own.require ?? false,
    drainMs: own.drain ?? SERVE_DRAIN_MS,
    writeEnv: own.writeEnv,
  }
}

// The shape of the commands' own options (src/cli/commands.ts), which the parser has given the types of their kinds.
interface OwnValues {
  readonly require?: boolean
  readonly drain?: number
  readonly writeEnv?: string
  readonly url?: string
  readonly json?: boolean
}

// What remains when a command's own options are taken away. A wrong word on the command line is a usage error; a wrong
// variable is not, since init fails open on it. So what cannot be used is the command line's fault where it cannot be
// used in an empty environment either.
function givenOptions(command: Command, values: Values, env: NodeJS.ProcessEnv): GivenOptions {
  const own = new Set(command.own.map(({ name }) => name))
  const given = Object.fromEntries(Object.entries(values).filter(([name]) => !own.has(name))) as GivenOptions
  if (problemOf(given, env) === undefined) return given
  const problem = problemOf(given, {})
  if (problem !== undefined) throw inFlags(problem)
  return given
}

function problemOf(given: GivenOptions, env: NodeJS.ProcessEnv): ProxyError | undefined {
  try {
    parseOptions(given, env)
    return undefined
  } catch (error) {
    if (error instanceof ProxyError) return error
    throw error
  }
}

// The error calls an option by its property; who typed a flag looks for the flag.
function inFlags(error: ProxyError): ProxyError {
  const [label = ''] = error.message.split(':')
  const flag = OPTION_TABLE.find(({ name }) => name === label)?.flag
  if (flag === undefined) return error
  const { code, hint } = error
  return new ProxyError(
    code,
    `${flag}${error.message.slice(label.length)}`,
    hint === undefined ? {} : { hint },
  )
}

function commandNamed(name: string): Command {
  const command = COMMANDS.find((each) => each.name === name)
  if (command === undefined) throw unknownCommand(name)
  return command
}
