/** One run of the load generator against a port: opens its tunnels, is let go, and tells what came of it. */
import { Process } from './process.mjs'

/**
 * Opens tunnels through `port`; resolves once all are open. `settings` are load's options (bench/load/load.cc) by name.
 * Rejects where a tunnel is refused or ends.
 */
export async function openLoad(programs, port, settings) {
  const options = Object.entries({ port, ...settings }).flatMap(([name, value]) => [`--${name}`, `${value}`])
  const process = new Process([programs.load, ...options], { place: 'load' })
  const next = async (ms) => {
    const event = await process.next(ms)
    if (event.event === 'failed') throw new Error(event.why)
    return event
  }
  try {
    await next(OPENING_MS)
  } catch (error) {
    await process.stop()
    throw error
  }
  return {
    go: () => process.say('go'),
    /** what it did, once it has: seconds, bytes, latencies in µs; all bytes were the right ones */
    done: () => next(RUN_MS),
    /** the same, now */
    finish() {
      process.say('stop')
      return next(RUN_MS)
    },
    /** closes its tunnels */
    stop: () => process.stop(),
  }
}

const OPENING_MS = 60_000
const RUN_MS = 300_000
