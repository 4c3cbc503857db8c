/**
 * argv → what is to be done.
 *
 * Rule 1: option parsing stops at the first word that is no option, or at `--`; what follows belongs to the
 *         command that is run, verbatim.
 * Rule 2: an option that does not exist is an error that names the nearest one; nothing is guessed.
 * Rule 3: no option takes a secret: argv is readable to every process of the machine.
 */
import { closest, distance } from 'fastest-levenshtein'
import { ProxyError } from '../errors.js'
import { type GivenOptions, OPTION_TABLE, parseOptions } from '../options.js'
import {
  type CliOption,
  COMMANDS,
  type Command,
  type CommandName,
  optionsOf,
  PROGRAM_OPTIONS,
  RUN_DRAIN_MS,
  SERVE_DRAIN_MS,
} from './commands.js'

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
 * Reads the words after the program's name.
 * @throws ProxyError ERR_USAGE, ERR_OPTION, ERR_OPTION_UNKNOWN
 */
export function parseArguments(words: readonly string[]): Invocation {
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
  return parseCommand(commandNamed(name), after)
}

/** Finds the command that a usage error is about, so that its usage can be shown; undefined where there is none. */
export function commandIn(words: readonly string[]): CommandName | undefined {
  return COMMANDS.find(({ name }) => name === words[0])?.name
}

function parseCommand(command: Command, words: readonly string[]): Invocation {
  const { values, rest } = readOptions(words, optionsOf(command), command)
  if (values['help']) return { command: 'help', topic: command.name }
  const own = values as OwnValues
  if (command.name === 'run') {
    const [program, ...args] = rest
    if (program === undefined) throw new ProxyError('ERR_USAGE', 'run needs a COMMAND')
    return {
      command: 'run',
      given: givenOptions(command, values),
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
    given: givenOptions(command, values),
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

// What remains when a command's own options are taken away. Checked here against an empty environment: a wrong word
// on the command line is a usage error, a wrong variable is not (init fails open on it).
function givenOptions(command: Command, values: Values): GivenOptions {
  const own = new Set(command.own.map(({ name }) => name))
  const given = Object.fromEntries(Object.entries(values).filter(([name]) => !own.has(name))) as GivenOptions
  try {
    parseOptions(given, {})
  } catch (error) {
    throw error instanceof ProxyError ? inFlags(error) : error
  }
  return given
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

type Value = string | number | boolean | string[]
type Values = Record<string, Value>

function readOptions(words: readonly string[], options: readonly CliOption[], command: Command | undefined) {
  const values: Values = {}
  let at = 0
  while (at < words.length) {
    const word = words[at] as string
    if (word === '--') return { values, rest: words.slice(at + 1) }
    if (!word.startsWith('-') || word === '-') break
    const { flag, inline } = splitWord(word)
    const option = options.find((each) => each.flag === flag)
    if (option === undefined) throw unknownOption(flag, options, command)
    at += 1
    if (option.kind === 'flag') {
      values[option.name] = inline === undefined || truth(option, inline)
      continue
    }
    const text = inline ?? words[at]
    if (inline === undefined) at += 1
    values[option.name] = convert(option, present(option, text, inline), values[option.name])
  }
  return { values, rest: words.slice(at) }
}

function splitWord(word: string): { flag: string; inline: string | undefined } {
  if (word === '-h') return { flag: '--help', inline: undefined }
  const equals = word.indexOf('=')
  return equals === -1
    ? { flag: word, inline: undefined }
    : { flag: word.slice(0, equals), inline: word.slice(equals + 1) }
}

// `--token-file --port` is a forgotten value far more often than a file of that name.
function present(option: CliOption, text: string | undefined, inline: string | undefined): string {
  if (text === undefined || (inline === undefined && text.startsWith('--'))) {
    const hint = text === undefined ? {} : { hint: `${option.flag}=${text} if that is the value` }
    throw new ProxyError(
      'ERR_OPTION',
      `${option.flag} needs a value (${option.placeholder ?? 'VALUE'})`,
      hint,
    )
  }
  return text
}

function convert(option: CliOption, text: string, before: Value | undefined): Value {
  switch (option.kind) {
    case 'number':
      if (!/^\d{1,10}$/.test(text) || Number(text) > MOST) throw expected(option, 'a whole number', text)
      return Number(text)
    case 'choice':
      if (!option.choices?.includes(text))
        throw expected(option, `one of ${option.choices?.join(', ')}`, text)
      return text
    case 'list': {
      // `NAME=VALUE` is one item, whatever the value holds.
      const items = text.includes('=') ? [text] : text.split(/[\s,]+/).filter((item) => item !== '')
      return [...(Array.isArray(before) ? before : []), ...items]
    }
    default:
      return text
  }
}

function truth(option: CliOption, text: string): boolean {
  if (/^(1|true|yes|on)$/i.test(text)) return true
  if (/^(0|false|no|off)$/i.test(text)) return false
  throw expected(option, 'true or false', text)
}

function expected(option: CliOption, what: string, text: string): ProxyError {
  return new ProxyError('ERR_OPTION', `${option.flag} expects ${what}, and got ${JSON.stringify(text)}`)
}

function commandNamed(name: string): Command {
  const command = COMMANDS.find((each) => each.name === name)
  if (command !== undefined) return command
  const names = COMMANDS.map((each) => each.name)
  const near = nearest(name, names)
  // A word that is like a command may be a program all the same (`rm` is near `run`).
  const hint = `${near === undefined ? '' : `did you mean ${near}? `}to run a program: upstreamproxy run -- ${name} …`
  throw new ProxyError('ERR_USAGE', `there is no command ${JSON.stringify(name)}`, { hint })
}

function unknownOption(
  flag: string,
  options: readonly CliOption[],
  command: Command | undefined,
): ProxyError {
  return new ProxyError(
    'ERR_OPTION_UNKNOWN',
    `there is no option ${flag}${command ? ` of ${command.name}` : ''}`,
    {
      hint: unknownOptionHint(flag, options, command),
    },
  )
}

function unknownOptionHint(
  flag: string,
  options: readonly CliOption[],
  command: Command | undefined,
): string {
  const owners = COMMANDS.filter((each) => optionsOf(each).some((option) => option.flag === flag))
  if (owners[0] !== undefined && command === undefined) {
    return `it comes after the command: upstreamproxy ${owners[0].name} ${flag}`
  }
  if (owners[0] !== undefined) return `it is an option of ${owners.map(({ name }) => name).join(' and ')}`
  if (PROGRAM_OPTIONS.some((option) => option.flag === flag)) return `upstreamproxy ${flag}`
  const near = nearest(
    flag,
    options.map((option) => option.flag),
  )
  return near === undefined
    ? `upstreamproxy ${command ? `${command.name} ` : ''}--help lists them`
    : `did you mean ${near}?`
}

// Two letters, or a third of a long word, may be wrong; with more than that the suggestion is noise.
function nearest(word: string, candidates: readonly string[]): string | undefined {
  const best = closest(word, candidates)
  return distance(word, best) <= Math.max(2, Math.floor(word.length / 3)) ? best : undefined
}

// The longest that a timer can wait, in ms; more would be taken for 1 ms.
const MOST = 2 ** 31 - 1
