/** What the parts of a running gateway share. */
import type { Audit } from './audit.js'
import type { Leaves } from './leaf.js'
import type { Limits } from './limits.js'
import type { Log } from './log.js'
import type { Origins } from './origins.js'
import type { Sessions } from './sessions.js'

export interface Core {
  readonly limits: Limits
  readonly log: Log
  readonly audit: Audit
  readonly sessions: Sessions
  readonly leaves: Leaves
  readonly origins: Origins
  /** the gateway is shutting down: what is under way may finish, nothing new begins */
  draining: boolean
}
