/** Who traces this process, from /proc alone (proc_pid_status(5)), which stays readable to a non-dumpable process. */
import { readdirSync, readFileSync } from 'node:fs'
import { constants } from 'node:os'
import { systemCallError } from './system-call-error.js'

/**
 * The process that traces this one, 0 for none. Every thread is asked: a tracer of any of them reads the memory of all.
 * A tracer outside this PID namespace is not visible in it.
 * @throws SystemCallError where /proc cannot be read, or does not say
 */
export function tracerPid(proc = '/proc'): number {
  for (const thread of entriesOf(`${proc}/self/task`)) {
    const found = /^TracerPid:\s*(\d+)$/m.exec(read(`${proc}/self/task/${thread}/status`) ?? ENDED)
    if (found === null) throw systemCallError('read', constants.errno.ENODATA)
    if (found[1] !== '0') return Number(found[1])
  }
  return 0
}

function entriesOf(folder: string): string[] {
  try {
    return readdirSync(folder)
  } catch (error) {
    // Node calls all of it scandir; what fails is opening the folder, as the addon says.
    throw systemCallError('open', errnoOf(error))
  }
}

// Undefined for a thread that has ended since it was listed.
function read(path: string): string | undefined {
  try {
    return readFileSync(path, 'latin1')
  } catch (error) {
    const { syscall = 'open' } = error as NodeJS.ErrnoException
    const refused = systemCallError(syscall, errnoOf(error))
    if (refused.code === 'ENOENT' || refused.code === 'ESRCH') return undefined
    throw refused
  }
}

// Node's errors of the file system have the errno negated.
function errnoOf(error: unknown): number {
  return Math.abs((error as NodeJS.ErrnoException).errno ?? 0)
}

const ENDED = 'TracerPid:\t0'
