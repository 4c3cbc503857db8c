/** The scenarios by name, in the order they run. */
import * as blocked from './blocked.mjs'
import * as bulk from './bulk.mjs'
import * as chunks from './chunks.mjs'
import * as idle from './idle.mjs'
import * as interactive from './interactive.mjs'
import * as setup from './setup.mjs'
import * as startup from './startup.mjs'
import * as thread from './thread.mjs'
import * as tunnels from './tunnels.mjs'

export const SCENARIOS = Object.fromEntries(
  [bulk, chunks, tunnels, setup, interactive, blocked, thread, idle, startup].map((scenario) => [
    scenario.name,
    scenario,
  ]),
)
