/** What to say of a word that means nothing: the nearest one that does, or where it would. */
import { closest, distance } from 'fastest-levenshtein'
import { ProxyError } from '../errors.js'
import { type CliOption, COMMANDS, type Command, optionsOf, PROGRAM_OPTIONS } from './commands.js'

/** ERR_USAGE for a word in a command's place. */
export function unknownCommand(name: string): ProxyError {
  const near = nearest(
    name,
    COMMANDS.map((each) => each.name),
  )
  // A word that is like a command may be a program all the same (`rm` is near `run`).
  const hint = `${near === undefined ? '' : `did you mean ${near}? `}to run a program: upstreamproxy run -- ${name} …`
  return new ProxyError('ERR_USAGE', `there is no command ${JSON.stringify(name)}`, { hint })
}

/** ERR_OPTION_UNKNOWN for a flag that is none of `options`; without a command, it stood before one. */
export function unknownOption(
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
