/** What the host's thread and the relay's own say to each other. All of it survives a structured clone. */
import { codeOf, type ErrorCode, ProxyError } from '../errors.js'
import type { Limits } from '../limits.js'
import type { LogFormat, LogLevel } from '../log.js'
import type { EngineChoice } from './choose-engine.js'
import type { RelayIdentity } from './status.js'

export type ThreadCommand =
  | ListenCommand
  /** again: the end of the drain, earlier */
  | { readonly do: 'close'; readonly drainMs: number }

/** The first, and once. */
export interface ListenCommand {
  readonly do: 'listen'
  readonly engine: EngineChoice
  readonly prewarm: number
  readonly port: number
  readonly baseUrl: string
  /** PEM; undefined where the base URL is http */
  readonly roots: readonly string[] | undefined
  readonly sessionId: string
  readonly token: string
  readonly limits: Limits
  readonly log: { readonly level: LogLevel; readonly format: LogFormat }
  readonly counterMemory: SharedArrayBuffer
  readonly lineMemory: SharedArrayBuffer
}

export type ThreadEvent =
  | { readonly event: 'listening'; readonly identity: RelayIdentity }
  /** instead of listening */
  | { readonly event: 'failed'; readonly error: PlainError }
  | { readonly event: 'line'; readonly line: string }
  | { readonly event: 'closed' }

/** A ProxyError, but for its class and stack. */
export interface PlainError {
  readonly code: ErrorCode
  readonly message: string
  readonly hint: string | undefined
  /** the system's code behind it, as the log shows it */
  readonly causeCode: string | undefined
}

export function plainError(error: ProxyError): PlainError {
  const { code, message, hint, cause } = error
  return { code, message, hint, causeCode: codeOf(cause) }
}

export function proxyErrorOf({ code, message, hint, causeCode }: PlainError): ProxyError {
  const cause = causeCode === undefined ? undefined : Object.assign(new Error(causeCode), { code: causeCode })
  return new ProxyError(code, message, { cause, ...(hint !== undefined && { hint }) })
}
