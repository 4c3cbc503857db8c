/** One option's value, wherever it came from, turned into its type. Everything here throws ERR_OPTION and no more. */
import { ProxyError } from '../errors.js'

export interface Setting {
  readonly value: unknown
  /** how the person who set it calls it: the option's name, or the variable */
  readonly label: string
}

/** A string that is not empty. */
export function textOf({ value, label }: Setting): string {
  if (typeof value === 'string' && value !== '') return value
  throw expected(label, 'a text that is not empty', value)
}

/** A boolean, or a word that means one. */
export function flagOf({ value, label }: Setting): boolean {
  if (typeof value === 'boolean') return value
  if (typeof value === 'string' && isTruthy(value)) return true
  if (typeof value === 'string' && /^(?:0|false|no|off)$/i.test(value)) return false
  throw expected(label, 'true or false', value)
}

/** Whether a variable's value switches something on: `1`, `true`, `yes`, `on`, in any case. */
export function isTruthy(value: string | undefined): boolean {
  return value !== undefined && /^(?:1|true|yes|on)$/i.test(value)
}

/** A whole number from `least` to `most`, in decimal digits where it is a text. */
export function numberOf({ value, label }: Setting, least: number, most: number, hint?: string): number {
  const number = typeof value === 'string' && /^\d{1,15}$/.test(value) ? Number(value) : value
  if (typeof number === 'number' && Number.isInteger(number) && number >= least && number <= most)
    return number
  throw expected(label, `a whole number from ${least} to ${most}`, value, hint)
}

export function choiceOf<T extends string>({ value, label }: Setting, choices: readonly T[]): T {
  const chosen = choices.find((choice) => choice === value)
  if (chosen !== undefined) return chosen
  throw expected(label, `one of ${choices.join(', ')}`, value)
}

/** Texts: a list of them, or one with commas or white space between. */
export function listOf({ value, label }: Setting): readonly string[] {
  if (typeof value === 'string') return value.split(/[\s,]+/).filter((item) => item !== '')
  if (Array.isArray(value) && value.every((item) => typeof item === 'string')) return [...value]
  throw expected(label, 'a list of texts', value)
}

/** Pairs: an object, or a list of `NAME=VALUE`; `NAME` alone gives null. */
export function pairsOf(setting: Setting): readonly (readonly [name: string, value: unknown])[] {
  const { value } = setting
  if (typeof value === 'object' && value !== null && !Array.isArray(value)) return Object.entries(value)
  return listOf(setting).map((item) => {
    const equals = item.indexOf('=')
    return equals === -1 ? [item, null] : [item.slice(0, equals), item.slice(equals + 1)]
  })
}

/** ERR_OPTION, naming what was expected and what came. */
export function expected(label: string, what: string, value: unknown, hint?: string): ProxyError {
  const got =
    typeof value === 'string' ? JSON.stringify(value) : typeof value === 'number' ? value : typeof value
  return new ProxyError(
    'ERR_OPTION',
    `${label}: expected ${what}, got ${got}`,
    hint === undefined ? {} : { hint },
  )
}
