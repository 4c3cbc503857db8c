/** What this package offers to a program: the relay, set up where the environment asks for it. */
export { ERROR_CODES, type ErrorCode } from './errors.js'
export {
  type DisabledReason,
  type DisabledResult,
  type EnabledResult,
  type InitResult,
  initUpstreamProxy,
} from './init.js'
export { DEFAULT_LIMITS, type Limits } from './limits.js'
export type { LogFormat, LogLevel } from './log.js'
export type { EnvProfile, GivenOptions, Hardening } from './options.js'
export type { Capabilities, Capability, CapabilityName } from './platform/index.js'
export type { RelayStatus } from './relay/status.js'
export { VERSION } from './version.js'
