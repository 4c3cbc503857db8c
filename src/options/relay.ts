/** How the relay runs. */
import { nearest } from './nearest.js'
import { flagOf, type Setting } from './values.js'

export interface RelaySettings {
  /** in a worker thread; auto: on Node, where one can be had */
  readonly thread: boolean | 'auto'
}

/** @throws ProxyError ERR_OPTION, ERR_OPTION_UNKNOWN */
export function relayOf(setting: Setting): RelaySettings {
  const { value, label } = setting
  if (typeof value !== 'object' || value === null || Array.isArray(value)) return { thread: flagOf(setting) }
  for (const name of Object.keys(value))
    if (name !== 'thread') throw nearest(`${label} option`, name, ['thread'])
  const thread = 'thread' in value ? value.thread : undefined
  return { thread: thread === undefined ? 'auto' : flagOf({ value: thread, label: `${label}: thread` }) }
}
