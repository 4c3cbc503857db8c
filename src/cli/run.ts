/**
 * `upstreamproxy run`: the relay for as long as one command runs.
 *
 * Rule 1: standard input and output belong to the command; nothing here reads or writes them.
 * Rule 2: whatever fails on our side, the command runs, and its end is its own (unless `--require`).
 * Rule 3: the child stays in our process group, so that a terminal's job control sees one job.
 * Rule 4: no signal is lost, from the first moment on; none that the terminal sent reaches the child twice.
 */
import type { RunInvocation } from './arguments.js'
import { startChild } from './child.js'
import { disabledFields } from './disabled.js'
import { closeRelay } from './drain.js'
import { type Ending, EXIT, type Io } from './io.js'
import { commandLog, logCrashes } from './logging.js'
import {
  catchSignals,
  type DeliverTo,
  FORWARDED_SIGNALS,
  isEndingSignal,
  isFromTerminal,
  nextEndingSignal,
  signalStatus,
} from './signals.js'
import { inThisThread } from './this-thread.js'

/** Runs the command and gives back how it ended. */
export async function run(invocation: RunInvocation, io: Io): Promise<Ending> {
  const { given, require, drainMs, program, args } = invocation
  const deliverTo = catchSignals(FORWARDED_SIGNALS)
  const log = commandLog(given, io)
  logCrashes(log)

  const { early, ended } = untilStarted(deliverTo)
  const { initUpstreamProxy } = await import('../init.js')
  const starting = initUpstreamProxy({ ...inThisThread(given, io.env), log: io.err })
  await Promise.race([starting, ended])
  if (early.endedBy !== undefined) return endedBy(early.endedBy)

  const result = await starting
  // An inherited relay is as good as our own.
  if (!result.enabled && result.reason !== 'inherited') {
    const fields = disabledFields(result.reason, io.env)
    if (require) {
      log.error('command-not-run', { ...fields, required: true })
      return EXIT.unavailable
    }
    // Of a failure, init has spoken already.
    if (result.reason === 'not-enabled') log.warn('command-runs-without-proxy', fields)
  }

  const child = startChild(program, args, result.env, log)
  deliverTo((signal) => {
    if (!isFromTerminal(signal)) child.kill(signal)
  })
  for (const signal of early.forTheCommand) child.kill(signal)
  const end = await child.ended
  if (end.kind === 'not-started') log.error('command-not-started', { command: program, message: end.message })

  const impatient = nextEndingSignal(deliverTo)
  if (result.enabled) await closeRelay(result, end.kind === 'not-started' ? 0 : drainMs, impatient)
  return end.kind === 'signalled' ? endedBy(end.signal) : end.status
}

// What came before the command started. A command that has not started has nothing to clean up, so a signal that
// asks us to end keeps it from starting. SIGUSR1 and SIGUSR2 wait for it; a size or a continuation from before its
// time means nothing to it.
function untilStarted(deliverTo: DeliverTo) {
  const early: { endedBy: NodeJS.Signals | undefined; forTheCommand: NodeJS.Signals[] } = {
    endedBy: undefined,
    forTheCommand: [],
  }
  const ended = new Promise<undefined>((resolve) => {
    deliverTo((signal) => {
      if (isEndingSignal(signal)) {
        early.endedBy ??= signal
        resolve(undefined)
      } else if (signal === 'SIGUSR1' || signal === 'SIGUSR2') early.forTheCommand.push(signal)
    })
  })
  return { early, ended }
}

// 128 + signal, as a plain status: the one form that every supervisor, container runtime and CI reads alike (death by
// a signal is lost on a PID 1, where the kernel ignores it). Ctrl-C is the exception: a shell script or loop around
// us stops at it only where its child visibly died of SIGINT; `$?` is 130 either way.
function endedBy(signal: NodeJS.Signals): Ending {
  return signal === 'SIGINT' && isFromTerminal(signal) ? signal : signalStatus(signal)
}
