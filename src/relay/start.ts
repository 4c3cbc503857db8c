/**
 * Where a relay runs: in a thread of its own, or in the one that asks.
 *
 * Rule 1: its thread starts while the rest is made ready, and gets nothing secret before it is to listen.
 * Rule 2: a thread that was asked for and cannot be had is an error; where nobody asked, the relay runs without one.
 * Rule 3: what does not run here is not loaded here.
 */
import { asProxyError } from '../errors.js'
import type { Limits } from '../limits.js'
import { createLog, errorFields, type LogOptions } from '../log.js'
import type { Relay, RelayOptions } from './relay.js'
import type { ThreadedRelayOptions } from './threaded-relay.js'

/** auto: where the runtime's threads are known to be good for it, and start */
export type ThreadChoice = boolean | 'auto'

export interface StartingRelay {
  /** Rejects as listenRelay and RelayThread.listen do. */
  listen(options: ListenOptions): Promise<Relay>
  /** For one that will not listen. */
  end(): Promise<void>
}

/** What either place needs. */
export type ListenOptions = Omit<RelayOptions & ThreadedRelayOptions, 'log' | 'counterMemory'>

/** @throws ProxyError ERR_RELAY_THREAD */
export async function startRelay(
  choice: ThreadChoice,
  limits: Limits,
  logOptions: Required<LogOptions>,
): Promise<StartingRelay> {
  const log = createLog(logOptions)
  const here: StartingRelay = {
    async listen(options) {
      const { listenRelay } = await import('./relay.js')
      return listenRelay({ ...options, log })
    },
    end: async () => undefined,
  }
  // Bun calls its own workers experimental, how they end above all.
  if (choice === false || (choice === 'auto' && process.versions['bun'] !== undefined)) return here
  const insteadOf = (error: unknown): StartingRelay => {
    const failure = asProxyError(error)
    if (choice !== 'auto' || failure.code !== 'ERR_RELAY_THREAD') throw failure
    log.warn('relay-without-thread', errorFields(failure))
    return here
  }
  const { RelayThread } = await import('./threaded-relay.js')
  try {
    const thread = new RelayThread({ limits, log: logOptions })
    return {
      async listen(options) {
        try {
          return await thread.listen({ ...options, log: logOptions })
        } catch (error) {
          return insteadOf(error).listen(options)
        }
      },
      end: () => thread.end(),
    }
  } catch (error) {
    return insteadOf(error)
  }
}
