/** The limits that were given, over the defaults. */
import { DEFAULT_LIMITS, type Limits } from '../limits.js'
import { nearest } from './nearest.js'
import { expected, numberOf, pairsOf, type Setting } from './values.js'

/** @throws ProxyError ERR_OPTION, ERR_OPTION_UNKNOWN */
export function limitsOf(setting: Setting | undefined): Limits {
  if (setting === undefined) return DEFAULT_LIMITS
  const limits: Record<keyof Limits, number> = { ...DEFAULT_LIMITS }
  for (const [name, value] of pairsOf(setting)) {
    if (value === undefined) continue
    if (!isLimit(name)) throw nearest('limit', name, Object.keys(DEFAULT_LIMITS))
    limits[name] = numberOf({ value, label: `${setting.label}: ${name}` }, 1, MOST)
  }
  if (limits.pingMs >= limits.pongTimeoutMs) {
    const { pingMs, pongTimeoutMs } = limits
    throw expected(`${setting.label}: pingMs`, `less than pongTimeoutMs (${pongTimeoutMs})`, pingMs)
  }
  return Object.freeze(limits)
}

function isLimit(name: string): name is keyof Limits {
  return Object.hasOwn(DEFAULT_LIMITS, name)
}

// The longest that a timer of Node's can wait, in ms; as bytes, the 2 GiB that a Buffer can hold everywhere.
const MOST = 2 ** 31 - 1
