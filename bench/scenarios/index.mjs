/** The scenarios by name, in the order they run. */
import * as bulk from './bulk.mjs'

export const SCENARIOS = Object.fromEntries([bulk].map((scenario) => [scenario.name, scenario]))
