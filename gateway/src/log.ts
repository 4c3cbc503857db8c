/**
 * What the operator reads on stderr: one line per event, a fixed name and fields of plain types. Nothing of a
 * request's own text goes in here (that is what the audit is for), and no secret can: a `Secret` is not a field.
 */

export type LogFormat = 'text' | 'json'
export type LogLevel = 'error' | 'warn' | 'info'
export type LogFields = Readonly<Record<string, string | number | boolean | undefined>>

/** Takes an event's name (kebab-case) and its fields; never throws. */
export interface Log {
  error(event: string, fields?: LogFields): void
  warn(event: string, fields?: LogFields): void
  info(event: string, fields?: LogFields): void
}

export interface LogOptions {
  /** default: text */
  readonly format?: LogFormat
  /** takes a whole line, its newline included (default: standard error) */
  readonly write?: (line: string) => void
}

export function createLog({ format = 'text', write = writeToStderr }: LogOptions = {}): Log {
  const at =
    (level: LogLevel) =>
    (event: string, fields: LogFields = {}) =>
      write(format === 'json' ? jsonLine(level, event, fields) : textLine(level, event, fields))
  return { error: at('error'), warn: at('warn'), info: at('info') }
}

/** A log that drops everything. */
export const SILENT: Log = { error: ignore, warn: ignore, info: ignore }

/** What can be said of an unknown error: the system's code where there is one, else its message. */
export function errorText(error: unknown): string {
  if (!(error instanceof Error)) return String(error)
  return 'code' in error && typeof error.code === 'string' ? error.code : error.message
}

function jsonLine(level: LogLevel, event: string, fields: LogFields): string {
  return `${JSON.stringify({ time: new Date().toISOString(), level, event, ...fields })}\n`
}

function textLine(level: LogLevel, event: string, fields: LogFields): string {
  const words = Object.entries(fields)
    .filter(([, value]) => value !== undefined)
    .map(([name, value]) => ` ${name}=${textValue(value)}`)
  return `upstreamproxy-gateway ${level}: ${event}${words.join('')}\n`
}

// Anything that could break out of its line or its word is quoted and escaped.
function textValue(value: LogFields[string]): string {
  const text = String(value)
  return /^[\w.:/@+-]+$/.test(text) ? text : JSON.stringify(text)
}

function writeToStderr(line: string): void {
  try {
    process.stderr.write(line)
  } catch {
    // A closed stderr must not stop the gateway.
  }
}

function ignore(): void {
  // SILENT means it.
}
