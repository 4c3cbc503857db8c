/**
 * One line per event, on stderr. An event has a fixed name and fields of plain types; there is no free text from
 * requests, and a `Token` prints itself as `<redacted>`.
 */
import { codeOf, type ProxyError } from './errors.js'

export const LOG_LEVELS = ['silent', 'error', 'warn', 'info', 'debug'] as const
export type LogLevel = (typeof LOG_LEVELS)[number]
export type LogFormat = 'text' | 'json'
export type LogFields = Readonly<Record<string, string | number | boolean | undefined>>

/** Takes an event's name (kebab-case) and its fields; never throws. */
export interface Log {
  error(event: string, fields?: LogFields): void
  warn(event: string, fields?: LogFields): void
  info(event: string, fields?: LogFields): void
  debug(event: string, fields?: LogFields): void
}

export interface LogOptions {
  readonly level: LogLevel
  readonly format: LogFormat
  /** takes a whole line, its newline included (default: standard error) */
  readonly write?: (line: string) => void
}

/** A log that drops events under its level. */
export function createLog({ level, format, write = writeToStderr }: LogOptions): Log {
  const threshold = LOG_LEVELS.indexOf(level)
  const at =
    (eventLevel: LogLevel) =>
    (event: string, fields: LogFields = {}) => {
      if (LOG_LEVELS.indexOf(eventLevel) > threshold) return
      write(format === 'json' ? jsonLine(eventLevel, event, fields) : textLine(eventLevel, event, fields))
    }
  return { error: at('error'), warn: at('warn'), info: at('info'), debug: at('debug') }
}

/** The fields that describe an error: its code, message, hint, and the system's code behind it. */
export function errorFields(error: ProxyError): LogFields {
  const cause = error.cause
  const causeCode = codeOf(cause)
  return { code: error.code, message: error.message, hint: error.hint, cause: causeCode }
}

function jsonLine(level: LogLevel, event: string, fields: LogFields): string {
  return `${JSON.stringify({ time: new Date().toISOString(), level, event, ...fields })}\n`
}

function textLine(level: LogLevel, event: string, fields: LogFields): string {
  const words = Object.entries(fields)
    .filter(([, value]) => value !== undefined)
    .map(([name, value]) => ` ${name}=${textValue(value)}`)
  return `upstreamproxy ${level}: ${event}${words.join('')}\n`
}

// Anything that could break out of its line or its word is quoted and escaped.
function textValue(value: LogFields[string]): string {
  const text = String(value)
  return /^[\w.:/@+-]+$/.test(text) ? text : JSON.stringify(text)
}

/** Where lines go that have no other place. */
export function writeToStderr(line: string): void {
  try {
    process.stderr.write(line)
  } catch {
    // A closed stderr must not break the host program.
  }
}
