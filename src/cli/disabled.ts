/** Why a command goes without the proxy, in the fields of one log line. */
import { ERROR_CODES } from '../errors.js'
import type { DisabledReason } from '../init.js'
import type { LogFields } from '../log.js'
import { missingGuards } from '../options.js'

/** The reason, what it means, and what a person can do about it. */
export function disabledFields(reason: DisabledReason, env: NodeJS.ProcessEnv): LogFields {
  if (reason === 'not-enabled') {
    return { reason, missing: missingGuards(env).join(' '), hint: 'set to 1 to enable the proxy' }
  }
  if (reason === 'inherited')
    return { reason, message: 'the environment leads to a relay that is alive already' }
  return { reason, message: ERROR_CODES[reason].meaning }
}
