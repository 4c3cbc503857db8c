/** `run` and `serve` do nothing else in their main thread: unless somebody asks, a second one would only cost. */
import { type GivenOptions, OPTION_TABLE } from '../options.js'

/** The same options; the relay without a thread of its own, where nothing else is said. */
export function inThisThread(given: GivenOptions, env: NodeJS.ProcessEnv): GivenOptions {
  const isSaid = given.relay !== undefined || (VARIABLE !== undefined && env[VARIABLE])
  return isSaid ? given : { ...given, relay: { thread: false } }
}

const VARIABLE = OPTION_TABLE.find(({ name }) => name === 'relay')?.env
