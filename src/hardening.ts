/**
 * What makes the token hard to take out of this process, done before it is read (invariant 3).
 *
 * Rule 1: who looks in already (an open inspector, a tracer) is refused before anything is changed: a developer's
 *         process stays as it was.
 * Rule 2: then the ways in are closed: non-dumpable, asked back from the kernel; SIGUSR1 kept from the inspector.
 * Rule 3: then who looks in is asked again, since somebody may have come in between; and by the caller, when the token
 *         has been read, and before it is used.
 * Rule 4: `default` goes on where a measure cannot be had, and warns once; `strict` refuses; `off` does and asks nothing.
 */
import type { Environment } from './environment.js'
import { ProxyError } from './errors.js'
import { refuseObserved } from './hardening/observers.js'
import type { Shortfall } from './hardening/shortfall.js'
import { keepSigusr1 } from './hardening/sigusr1.js'
import type { Log } from './log.js'
import type { Hardening } from './options.js'
import { processControl, reasonOf } from './platform/index.js'

export interface Hardened {
  /**
   * For when the token has been read, and again before the relay has it.
   * @throws ProxyError ERR_HARDENING_INSPECTOR, ERR_HARDENING_TRACED
   */
  checkAgain(): Promise<void>
}

/**
 * Takes the measures.
 * @throws ProxyError ERR_HARDENING_INSPECTOR, ERR_HARDENING_TRACED, ERR_HARDENING_INCOMPLETE (strict alone)
 */
export async function harden(hardening: Hardening, env: Environment, log: Log): Promise<Hardened> {
  if (hardening === 'off') return { checkAgain: async () => undefined }
  const unseen = await refuseObserved(env)
  const shortfalls = [...makeNonDumpable(), ...keepSigusr1()]
  await new Promise((resolve) => setTimeout(resolve, SETTLE_MS))
  await refuseObserved(env)
  report([...shortfalls, ...unseen], hardening, log)
  return {
    async checkAgain() {
      await refuseObserved(env)
    },
  }
}

function makeNonDumpable(): readonly Shortfall[] {
  const found = processControl()
  if ('absent' in found) return [{ measure: 'non-dumpable', reason: found.absent }]
  try {
    found.control.setDumpable(false)
    if (!found.control.isDumpable()) return []
    return [{ measure: 'non-dumpable', reason: 'prctl succeeded, but the process is still dumpable' }]
  } catch (error) {
    return [{ measure: 'non-dumpable', reason: reasonOf(error) }]
  }
}

function report(shortfalls: readonly Shortfall[], hardening: Hardening, log: Log): void {
  if (shortfalls.length === 0) return
  const measures = shortfalls.map(({ measure }) => measure).join(' ')
  const reason = [...new Set(shortfalls.map((each) => each.reason))].join('; ')
  if (hardening === 'strict') {
    throw new ProxyError('ERR_HARDENING_INCOMPLETE', `not to be had here: ${measures} (${reason})`, {
      hint: 'upstreamproxy --version --json says what serves each measure; to go on without: --hardening default',
    })
  }
  if (said.has(measures)) return
  said.add(measures)
  log.warn('not-hardened', {
    missing: measures,
    message: 'other processes of this user may be able to read the memory of this one, the token included',
    reason,
  })
}

// Once a process, however often init runs.
const said = new Set<string>()

// A SIGUSR1 from just before it was ignored opens the inspector a little later, by a thread of Node's that has to be
// scheduled for it: at once on an idle machine, within 22 ms where six busy loops had two cores. This timer is as late as
// that thread there; what comes later still is for `checkAgain`, the second of which is a download away.
const SETTLE_MS = 10
