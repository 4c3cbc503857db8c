/** A command as a child process: started with our standard streams, in our process group; its end; its failure. */
import { spawn } from 'node:child_process'
import { statSync } from 'node:fs'
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

/** Starts `program` (looked up in the PATH of `env` where it has no slash). */
export function startChild(program: string, args: readonly string[], env: Record<string, string>): Child {
  if (program === '') return notStarted(EXIT.notFound, 'the command is an empty word')
  const child = spawn(program, args, { stdio: 'inherit', env })
  return {
    kill: (signal) => void child.kill(signal),
    ended: new Promise((resolve) => {
      child.once('error', (error: NodeJS.ErrnoException) => {
        // A signal that could not be sent is reported here too; the child runs on.
        if (child.pid === undefined) resolve(whyNotStarted(program, error))
      })
      child.once('exit', (status, signal) => {
        if (child.pid === undefined) return
        resolve(
          signal === null
            ? { kind: 'exited', status: status ?? EXIT.internal }
            : { kind: 'signalled', signal },
        )
      })
    }),
  }
}

function notStarted(status: number, message: string): Child {
  return { kill: () => undefined, ended: Promise.resolve({ kind: 'not-started', status, message }) }
}

// What the shells say, and their statuses: 127 for what is not there, 126 for what is there and cannot be run.
function whyNotStarted(program: string, { code = 'unknown error' }: NodeJS.ErrnoException): ChildEnd {
  const found = program.includes('/') ? statSync(program, { throwIfNoEntry: false }) : undefined
  if (code === 'ENOENT') {
    const message = found
      ? 'it exists, but the interpreter that it names (its #! line, or its loader) does not'
      : program.includes('/')
        ? 'there is no such file'
        : 'it is not in PATH'
    return { kind: 'not-started', status: EXIT.notFound, message }
  }
  const message = found?.isDirectory()
    ? 'it is a directory'
    : code === 'EACCES'
      ? 'it is not executable'
      : `it could not be started: ${code}`
  return { kind: 'not-started', status: EXIT.notExecutable, message }
}
