/** A command as a child process: started with our standard streams, in our process group; its end; its failure. */
import { type ChildProcess, spawn } from 'node:child_process'
import { statSync } from 'node:fs'
import type { Log } from '../log.js'
import { EXIT } from './io.js'

export interface Child {
  /** passes a signal on; does nothing once the child has ended */
  kill(signal: NodeJS.Signals): void
  /** how the child ended; never rejects */
  readonly ended: Promise<ChildEnd>
}

export type ChildEnd =
  | { readonly kind: 'exited'; readonly status: number }
  | { readonly kind: 'signalled'; readonly signal: NodeJS.Signals }
  | { readonly kind: 'not-started'; readonly status: number; readonly message: string }

/** Starts `program` (looked up in the PATH of `env` where it has no slash). Never throws. */
export function startChild(
  program: string,
  args: readonly string[],
  env: Record<string, string>,
  log: Log,
): Child {
  if (program === '') return notStarted({ status: EXIT.notFound, message: 'the command is an empty word' })
  try {
    return childOf(spawn(program, args, { stdio: 'inherit', env }), program, log)
  } catch (error) {
    // Some errors of exec(2) come as an event (below), the others (ENOTDIR, E2BIG, …) at once.
    return notStarted(whyNotStarted(program, error as NodeJS.ErrnoException))
  }
}

function childOf(child: ChildProcess, program: string, log: Log): Child {
  const ended = new Promise<ChildEnd>((resolve) => {
    child.on('error', (error: NodeJS.ErrnoException) => {
      if (child.pid === undefined) resolve({ kind: 'not-started', ...whyNotStarted(program, error) })
      // EPERM: the command has become another user (sudo), whom we may not signal.
      else log.warn('signal-not-forwarded', { cause: error.code })
    })
    child.once('exit', (status, signal) => {
      if (child.pid === undefined) return
      if (signal === null) resolve({ kind: 'exited', status: status ?? EXIT.internal })
      else resolve({ kind: 'signalled', signal })
    })
  })
  return { kill: (signal) => void child.kill(signal), ended }
}

interface Failure {
  readonly status: number
  readonly message: string
}

function notStarted(failure: Failure): Child {
  return { kill: () => undefined, ended: Promise.resolve({ kind: 'not-started', ...failure }) }
}

// What the shells say, and their statuses: 127 for what is not there, 126 for what is there and cannot be run.
function whyNotStarted(program: string, { code = 'unknown error' }: NodeJS.ErrnoException): Failure {
  const isPath = program.includes('/')
  if (code === 'ENOENT') {
    const message = !isPath
      ? 'it is not in PATH'
      : isThere(program)
        ? 'it is there, but the interpreter that it names (its #! line, or its loader) is not'
        : 'there is no such file'
    return { status: EXIT.notFound, message }
  }
  if (code === 'ENOTDIR') return { status: EXIT.notFound, message: 'there is no such file' }
  const message = isFolder(program)
    ? 'it is a directory'
    : code === 'EACCES'
      ? 'it is not executable'
      : `it could not be started: ${code}`
  return { status: EXIT.notExecutable, message }
}

function isThere(path: string): boolean {
  return statSync(path, { throwIfNoEntry: false }) !== undefined
}

function isFolder(path: string): boolean {
  try {
    return statSync(path, { throwIfNoEntry: false })?.isDirectory() ?? false
  } catch {
    // Not even allowed to look.
    return false
  }
}
