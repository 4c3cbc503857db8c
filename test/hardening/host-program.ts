/**
 * A host program: calls init as its arguments say, tells in one line of JSON what came of it, and then evaluates each
 * line of its standard input (a script, as a JSON string) and answers with one line of JSON, until the input ends.
 */
import fs from 'node:fs'
import { createRequire, syncBuiltinESMExports } from 'node:module'
import { createInterface } from 'node:readline'
import { type GivenOptions, initUpstreamProxy } from '#src/index.js'
import { evaluate, tell } from '../support/answering.js'

export interface HostProgram {
  readonly given: GivenOptions
  /** evaluated before init; `load` is require there, and `fs` the module itself */
  readonly before?: string | undefined
}

export interface HostReport {
  readonly enabled: boolean
  /** empty where it is enabled */
  readonly reason: string
  readonly port: number
  readonly lines: readonly string[]
}

const { given, before = '' } = JSON.parse(process.argv[2] ?? '') as HostProgram
const lines: string[] = []
const init = async (extra: GivenOptions = {}): Promise<HostReport> => {
  lines.length = 0
  const result = await initUpstreamProxy({ ...given, ...extra, log: (line) => lines.push(line) })
  return {
    enabled: result.enabled,
    reason: result.enabled ? '' : result.reason,
    port: result.enabled ? result.port : 0,
    lines,
  }
}
Object.assign(globalThis, { load: createRequire(import.meta.url), fs, init, file: import.meta.filename })
await evaluate(before)
// What the script replaced in `fs` holds for imports too.
syncBuiltinESMExports()
tell(await init())
for await (const line of createInterface({ input: process.stdin })) tell(await evaluate(JSON.parse(line)))
