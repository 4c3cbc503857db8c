/**
 * Takes one implementation of ProcessControl, named by its arguments, through everything that it can do, and tells in
 * one line of JSON what it answered and what the kernel said of it (in /proc/self, which it does not use for that).
 */
import { once } from 'node:events'
import { statSync } from 'node:fs'
import { koffiPackages, loadKoffi } from '#src/platform/koffi.js'
import { processControlOver } from '#src/platform/libc-process-control.js'
import type { ProcessControl } from '#src/platform/process-control.js'
import { processControlBy } from '#src/platform/process-controls.js'
import { sigusr1Of } from './disposition.js'

const IMPLEMENTATIONS = ['addon', 'koffi', '@koromix', 'bun-ffi'] as const
export type ImplementationName = (typeof IMPLEMENTATIONS)[number]

const [name = '', only = ''] = process.argv.slice(2) as [ImplementationName, string]
const found = lookUp()
if ('absent' in found) console.log(JSON.stringify(found))
else if (only === 'refused') console.log(JSON.stringify(attempt(() => found.control.setDumpable(false))))
else if (only === 'tracer') {
  console.log(process.pid)
  await once(process.stdin, 'data')
  console.log(found.control.tracerPid())
  process.exit()
} else console.log(JSON.stringify(await report(found.control)))

function lookUp(): { control: ProcessControl } | { absent: string } {
  if (name === 'addon' || name === 'bun-ffi') return processControlBy(name)
  const packages = koffiPackages(process.arch).filter(
    (each) => (each.name === 'koffi') === (name === 'koffi'),
  )
  const loaded = loadKoffi(packages)
  return 'absent' in loaded ? loaded : { control: processControlOver(loaded.libc) }
}

async function report(control: ProcessControl): Promise<Record<string, unknown>> {
  let signals = 0
  const listener = () => {
    signals += 1
  }
  const signalled = async (): Promise<number> => {
    process.kill(process.pid, 'SIGUSR1')
    // Signals that are caught come with the next turns of the loop.
    await new Promise((resolve) => setTimeout(resolve, 20))
    return signals
  }
  const told: Record<string, unknown> = {}
  const note = (what: string, answer: unknown, kernel?: unknown) => {
    told[what] = kernel === undefined ? answer : [answer, kernel]
  }
  note('dumpable at first', control.isDumpable(), ownerIsRoot())
  note(
    'non-dumpable',
    attempt(() => control.setDumpable(false)),
  )
  note('asked', control.isDumpable(), ownerIsRoot())
  note(
    'dumpable',
    attempt(() => control.setDumpable(true)),
  )
  note('asked again', control.isDumpable(), ownerIsRoot())
  note('tracer', control.tracerPid())

  note(
    'nothing to restore',
    attempt(() => control.restoreSigusr1()),
  )
  process.on('SIGUSR1', listener)
  note('listened to', control.sigusr1(), sigusr1Of('self'))
  control.ignoreSigusr1()
  control.ignoreSigusr1()
  note('ignored, twice', control.sigusr1(), sigusr1Of('self'))
  note('signals while ignored', await signalled())
  control.restoreSigusr1()
  note('restored', control.sigusr1(), sigusr1Of('self'))
  note('signals when restored', await signalled())
  control.restoreSigusr1()
  note('restored twice', control.sigusr1(), sigusr1Of('self'))
  // Bun leaves its handler in place when the last listener goes.
  if (process.versions['bun'] !== undefined) return told
  control.ignoreSigusr1()
  process.off('SIGUSR1', listener)
  note('set to its default by somebody else', control.sigusr1(), sigusr1Of('self'))
  control.restoreSigusr1()
  note('not restored over that', control.sigusr1(), sigusr1Of('self'))
  control.ignoreSigusr1()
  note('ignored in place of the default', control.sigusr1(), sigusr1Of('self'))
  control.restoreSigusr1()
  note('the default restored', control.sigusr1(), sigusr1Of('self'))
  return told
}

function attempt(work: () => void): unknown {
  try {
    return work() ?? 'done'
  } catch (error) {
    const { code, errno, syscall } = error as NodeJS.ErrnoException
    return { isError: error instanceof Error, code, errno, syscall }
  }
}

// proc(5): the files of a process that is not dumpable belong to root.
function ownerIsRoot(): boolean {
  return statSync('/proc/self/environ').uid === 0
}
