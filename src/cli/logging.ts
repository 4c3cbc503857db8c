/** The commands' own log: the level and format that the options ask for. */
import { asProxyError } from '../errors.js'
import { createLog, errorFields, type Log } from '../log.js'
import { type GivenOptions, parseLogOptions } from '../options.js'
import type { Io } from './io.js'

/** A log on standard error. */
export function commandLog(given: GivenOptions, io: Io): Log {
  return createLog({ ...parseLogOptions(given, io.env), write: io.err })
}

/**
 * From now on a bug of ours is a line in the log and not the end of the process: the command that runs under us
 * must not die of it. What it broke in the relay shows there (a tunnel that fails), and clients can try again.
 */
export function logCrashes(log: Log): void {
  const report = (error: unknown) => log.error('internal-error', errorFields(asProxyError(error)))
  process.on('uncaughtException', report)
  process.on('unhandledRejection', report)
}
