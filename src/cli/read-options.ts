/** Words → the options among them, each of the type that its kind says, and the words after them. */
import { ProxyError } from '../errors.js'
import type { CliOption, Command } from './commands.js'
import { unknownOption } from './suggestions.js'

export type Value = string | number | boolean | string[]
/** by the option's name */
export type Values = Record<string, Value>

/**
 * Reads options up to the first word that is none, or up to and with `--`; `rest` is what follows. `command` is the
 * one that they come after, for what an error says.
 * @throws ProxyError ERR_OPTION, ERR_OPTION_UNKNOWN
 */
export function readOptions(
  words: readonly string[],
  options: readonly CliOption[],
  command: Command | undefined,
): { values: Values; rest: readonly string[] } {
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

// The longest that a timer can wait, in ms; more would be taken for 1 ms.
const MOST = 2 ** 31 - 1
