/**
 * A host program: calls init as its arguments say, tells in one line of JSON what came of it, and has nothing else to
 * do. With `hold` it stays until its standard input ends.
 */
import { once } from 'node:events'
import fs from 'node:fs'
import { createRequire, syncBuiltinESMExports } from 'node:module'
import type { GivenOptions } from '#src/index.js'

export interface HostProgram {
  readonly given: GivenOptions
  readonly hold?: boolean
  /** how many times init runs, one after the other (default: 1) */
  readonly times?: number
  /** pretend to run on this system */
  readonly platform?: string
  /** note whether the process is dumpable at start, whenever this file is opened, and at the end (Linux) */
  readonly watch?: string
}

export interface HostReport {
  readonly enabled: readonly boolean[]
  readonly reasons: readonly string[]
  readonly lines: readonly string[]
  /** 1 dumpable, 0 not; one for each moment */
  readonly dumpable: readonly number[]
}

const { given, hold, times = 1, platform, watch } = JSON.parse(process.argv[2] ?? '') as HostProgram
if (platform !== undefined) Object.defineProperty(process, 'platform', { value: platform })
const dumpable: number[] = []
const noteDumpable = watch === undefined ? () => 0 : watchOpening(watch)

const { initUpstreamProxy } = await import('#src/index.js')
const lines: string[] = []
const results = []
for (let run = 0; run < times; run += 1)
  results.push(await initUpstreamProxy({ ...given, log: (line) => lines.push(line) }))
noteDumpable()
const report: HostReport = {
  enabled: results.map(({ enabled }) => enabled),
  reasons: results.map((result) => (result.enabled ? '' : result.reason)),
  lines,
  dumpable,
}
fs.writeSync(1, `${JSON.stringify(report)}\n`)
if (hold) await once(process.stdin.resume(), 'end')

function watchOpening(path: string): () => number {
  const koffi = createRequire(import.meta.url)(`@koromix/koffi-linux-${process.arch}`)
  const prctl = koffi.load(null).func('prctl', 'int', ['int', 'ulong', 'ulong', 'ulong', 'ulong'])
  const note = () => dumpable.push(prctl(3, 0, 0, 0, 0))
  note()
  const { open } = fs.promises
  fs.promises.open = (file, ...rest) => {
    if (file === path) note()
    return open(file, ...rest)
  }
  syncBuiltinESMExports()
  return note
}
