/** The asker's side of a conversation with a program that answers each line with one line of JSON (answering.ts). */
import { type ChildProcessWithoutNullStreams, type SpawnOptionsWithoutStdio, spawn } from 'node:child_process'
import { once } from 'node:events'
import { createInterface } from 'node:readline'
import type { Test } from 'tap'
import { within } from './deadline.js'

export interface AskedProgram {
  readonly child: ChildProcessWithoutNullStreams
  /** its exit status, or the signal that ended it */
  readonly ended: Promise<number | NodeJS.Signals>
  /** all that it has written to standard error */
  errors(): string
  /** the next line that it says */
  answer(what: string, ms?: number): Promise<unknown>
  /** has it evaluate a script */
  ask(script: string, ms?: number): Promise<unknown>
}

/** Starts it with these variables and no others: through env(1), for tap adds variables of its own to whatever is spawned. */
export function askedProgram(
  t: Test,
  variables: Readonly<Record<string, string | undefined>>,
  command: readonly string[],
  options: SpawnOptionsWithoutStdio = {},
): AskedProgram {
  const assignments = Object.entries(variables).map(([name, value]) => `${name}=${value}`)
  const child = spawn('env', ['-i', ...assignments, ...command], { ...options, stdio: 'pipe' })
  t.teardown(() => child.kill('SIGKILL'))
  let errors = ''
  child.stderr.on('data', (bytes) => (errors += bytes))
  child.stdin.on('error', () => undefined)
  const ended = once(child, 'exit').then(([status, signal]) => signal ?? status)
  const answers = createInterface({ input: child.stdout })[Symbol.asyncIterator]()
  const answer = async (what: string, ms?: number): Promise<unknown> => {
    const { value, done } = await within(answers.next(), what, ms)
    if (done) throw new Error(`${what}: it has ended (${await ended}): ${errors}`)
    return JSON.parse(value)
  }
  return {
    child,
    ended,
    errors: () => errors,
    answer,
    ask(script, ms) {
      child.stdin.write(`${JSON.stringify(script)}\n`)
      return answer(script, ms)
    },
  }
}
