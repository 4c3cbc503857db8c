/** What `--help` prints, made from the tables that the parser reads. */
import {
  type CliOption,
  COMMANDS,
  type Command,
  type CommandName,
  optionsOf,
  PROGRAM_OPTIONS,
} from './commands.js'

/** The text for one command, or for the program. Ends in a newline. */
export function helpText(topic: CommandName | undefined): string {
  const command = COMMANDS.find(({ name }) => name === topic)
  return command === undefined ? programHelp() : commandHelp(command)
}

/** The lines that a usage error shows: enough to try again, few enough to leave the error in sight. */
export function usageText(topic: CommandName | undefined): string {
  const command = COMMANDS.find(({ name }) => name === topic)
  if (command !== undefined)
    return `usage: ${command.synopsis}\n       upstreamproxy ${command.name} --help\n`
  return `usage: ${COMMANDS.map(({ synopsis }) => synopsis).join('\n       ')}\n       upstreamproxy --help\n`
}

function programHelp(): string {
  return sections([
    'upstreamproxy: carries the HTTPS calls of a sandbox to a gateway, which adds the credentials',
    section('Commands', table(COMMANDS.map(({ name, summary }) => [name, summary]))),
    section('Options', optionTable(PROGRAM_OPTIONS)),
    section('Examples', [
      'upstreamproxy run curl https://api.example.com/',
      'upstreamproxy run --help',
      'upstreamproxy --version --json',
    ]),
    section('Enabled by', [
      'CLAUDE_CODE_REMOTE=1 and CCR_UPSTREAM_PROXY_ENABLED=1; without both, commands run unchanged',
    ]),
  ])
}

function commandHelp(command: Command): string {
  const relayOptions = optionsOf(command).filter((option) => !command.own.includes(option))
  return sections([
    command.synopsis,
    wrap(command.description, WIDTH).join('\n'),
    section('Options', optionTable(command.own)),
    ...(relayOptions.length === 0
      ? []
      : [section('Options of the relay, also as environment', optionTable(relayOptions))]),
    section(
      'Examples',
      command.examples.flatMap(([line, why]) => [line, `    ${why}`]),
    ),
    section('Exit status', wrap(command.exitStatus, WIDTH - 2)),
  ])
}

function optionTable(options: readonly CliOption[]): string[] {
  return table(options.map((option) => [withPlaceholder(option), `${option.help}${origin(option)}`]))
}

function withPlaceholder({ flag, kind, choices, placeholder }: CliOption): string {
  if (kind === 'flag') return flag
  return `${flag} ${choices?.join('|') ?? placeholder ?? 'VALUE'}`
}

function origin({ env, fallbackEnv = [], defaultText }: CliOption): string {
  const variables = [env, ...fallbackEnv].filter((name) => name !== undefined).map((name) => `$${name}`)
  const parts = [defaultText && `default: ${defaultText}`, variables.join(', then ')].filter(Boolean)
  return parts.length === 0 ? '' : ` (${parts.join('; ')})`
}

// Two columns, in lines; a left cell that is too wide has a line to itself.
function table(rows: readonly (readonly [left: string, right: string])[]): string[] {
  const width = Math.min(WIDEST_LEFT, Math.max(...rows.map(([left]) => left.length)))
  return rows.flatMap(([left, right]) => {
    const [first = '', ...rest] = wrap(right, WIDTH - width - 4)
    const below = rest.map((line) => `${' '.repeat(width)}  ${line}`)
    return left.length > width
      ? [left, `${' '.repeat(width)}  ${first}`, ...below]
      : [`${left.padEnd(width)}  ${first}`, ...below]
  })
}

function wrap(text: string, width: number): string[] {
  const lines = ['']
  for (const word of text.split(' ')) {
    const line = lines.at(-1) ?? ''
    if (line !== '' && line.length + 1 + word.length > width) lines.push(word)
    else lines[lines.length - 1] = line === '' ? word : `${line} ${word}`
  }
  return lines
}

function section(title: string, lines: readonly string[]): string {
  return `${title}:\n${lines.map((line) => `  ${line}`).join('\n')}`
}

function sections(parts: readonly string[]): string {
  return `${parts.join('\n\n')}\n`
}

const WIDTH = 100
const WIDEST_LEFT = 26
