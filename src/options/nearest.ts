import { closest } from 'fastest-levenshtein'
import { ProxyError } from '../errors.js'

/** ERR_OPTION_UNKNOWN that names the nearest of the names that there are. */
export function nearest(what: string, name: string, names: readonly string[]): ProxyError {
  return new ProxyError('ERR_OPTION_UNKNOWN', `there is no ${what} ${JSON.stringify(name)}`, {
    hint: `did you mean ${closest(name, names)}?`,
  })
}
