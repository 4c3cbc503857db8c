/**
 * `upstreamproxy serve`: the relay in the foreground, until a signal ends it.
 *
 * Rule 1: standard output carries one line of JSON, written when everything else is ready.
 * Rule 2: whatever fails, it stays up (unless `--require`): a sidecar that exits would block its pod, and a token
 *         that is unlinked already leaves a restart with nothing.
 * Rule 3: a signal ends it with 0, from the first moment on.
 */
import { childEnvironment } from '../environment.js'
import { asProxyError } from '../errors.js'
import type { EnabledResult, InitResult } from '../init.js'
import { errorFields } from '../log.js'
import { type GivenOptions, parseOptions } from '../options.js'
import type { ServeInvocation } from './arguments.js'
import { disabledFields } from './disabled.js'
import { closeRelay } from './drain.js'
import { envFile, type Variables } from './env-file.js'
import { type Ending, EXIT, type Io } from './io.js'
import { commandLog, logCrashes } from './logging.js'
import { catchSignals, FORWARDED_SIGNALS, nextEndingSignal } from './signals.js'
import { inThisThread } from './this-thread.js'

/** Serves until a signal comes. SIGUSR1 and its kin are caught, and mean nothing here. */
export async function serve(invocation: ServeInvocation, io: Io): Promise<Ending> {
  const { given, require, drainMs, writeEnv } = invocation
  const deliverTo = catchSignals(FORWARDED_SIGNALS)
  const log = commandLog(given, io)
  logCrashes(log)
  const asked = nextEndingSignal(deliverTo)
  const succeeds = (work: () => void): boolean => {
    try {
      work()
      return true
    } catch (error) {
      log.error('env-file-failed', errorFields(asProxyError(error)))
      return false
    }
  }

  const file = writeEnv === undefined ? undefined : envFile(writeEnv)
  const usable = file === undefined || succeeds(() => file.removeLeftover())
  if (!usable && require) return EXIT.cannotCreate
  const { initUpstreamProxy } = await import('../init.js')
  const result = await Promise.race([
    initUpstreamProxy({ ...inThisThread(given, io.env), log: io.err }),
    asked,
  ])
  if (result === undefined) return EXIT.ok

  if (!result.enabled) {
    const fields = disabledFields(result.reason, io.env)
    if (require) log.error('not-serving', { ...fields, required: true })
    // Of a failure, init has spoken already.
    else if (result.reason === 'not-enabled') log.warn('idle-without-proxy', fields)
  }
  const led =
    result.enabled &&
    usable &&
    (file === undefined || succeeds(() => file.write(relayVariables(result, given, io.env))))
  // No file then: whoever waits for it must not go on without the proxy.
  if (require && !result.enabled) {
    announce(result, io)
    return EXIT.unavailable
  }
  if (require && result.enabled && !led) {
    await closeRelay(result, 0, asked)
    return EXIT.cannotCreate
  }
  // An empty file: whoever waits for it goes on without the proxy.
  if (!led) file?.empty()
  announce(result, io)
  await staysUp(asked)

  // Before anything else: nobody new shall be led to a relay that is about to end.
  file?.empty()
  if (result.enabled) await closeRelay(result, drainMs, nextEndingSignal(deliverTo))
  return EXIT.ok
}

// What the relay sets, with the values that it has set (NO_PROXY holds the parent's hosts too); also where the parent
// happens to have the same already, since the readers of the file may not.
function relayVariables(result: EnabledResult, given: GivenOptions, env: NodeJS.ProcessEnv): Variables {
  const ours = Object.keys(childEnvironment({}, { ...parseOptions(given, env), ...result }))
  return Object.fromEntries(
    ours.flatMap((name) => (name in result.env ? [[name, result.env[name] ?? '']] : [])),
  )
}

function announce(result: InitResult, io: Io): void {
  const { pid } = process
  const document = result.enabled
    ? { enabled: true, port: result.port, caBundlePath: result.caBundlePath, pid }
    : { enabled: false, reason: result.reason }
  io.out(`${JSON.stringify(document)}\n`)
}

// Neither the relay's listener nor a signal's keeps a process alive.
async function staysUp(asked: Promise<unknown>): Promise<void> {
  const heartbeat = setInterval(() => undefined, 2 ** 30)
  await asked
  clearInterval(heartbeat)
}
