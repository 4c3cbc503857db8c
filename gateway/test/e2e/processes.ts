/** Programs that a test starts, and what /proc shows of them and of all that they started. */
import { type ChildProcess, spawn } from 'node:child_process'
import { readdirSync, readFileSync } from 'node:fs'
import { Readable } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import type { Test } from 'tap'

export interface Ended {
  readonly status: number | null
  readonly signal: NodeJS.Signals | null
  readonly out: string
  readonly err: string
}

export interface Program {
  readonly process: ChildProcess
  readonly pid: number
  /** what it has written so far */
  readonly out: () => string
  readonly err: () => string
  /** resolves when its standard output holds a match; rejects when it has ended without one */
  shows(pattern: RegExp): Promise<RegExpMatchArray>
  /** resolves once it has ended and its pipes are closed */
  readonly ended: Promise<Ended>
}

export interface ProgramOptions {
  readonly env: Readonly<Record<string, string>>
  readonly cwd?: string
  /** for its standard input (default: nothing) */
  readonly input?: AsyncIterable<Buffer> | Iterable<Buffer>
}

/** Starts a program in a session of its own; what is left of its process group ends with the test. */
export function startProgram(
  t: Test,
  command: string,
  args: readonly string[],
  { env, cwd, input = [] }: ProgramOptions,
): Program {
  // Through env(1), which becomes the command: tap adds variables of its own to whatever is spawned.
  const variables = Object.entries(env).map(([name, value]) => `${name}=${value}`)
  const child = spawn('/usr/bin/env', ['-i', ...variables, command, ...args], {
    env,
    detached: true,
    stdio: 'pipe',
    ...(cwd !== undefined && { cwd }),
  })
  const pid = child.pid
  if (pid === undefined) throw new Error(`cannot start ${command}`)
  t.teardown(() => {
    try {
      process.kill(-pid, 'SIGKILL')
    } catch {
      // The whole group has ended already, as it should.
    }
  })
  let out = ''
  let err = ''
  child.stdout.on('data', (bytes: Buffer) => {
    out += bytes
  })
  child.stderr.on('data', (bytes: Buffer) => {
    err += bytes
  })
  // A program need not read what it is given.
  pipeline(Readable.from(input), child.stdin).catch(() => undefined)
  const ended = new Promise<Ended>((resolve) => {
    child.once('close', (status, signal) => resolve({ status, signal, out, err }))
  })
  const shows = (pattern: RegExp) =>
    new Promise<RegExpMatchArray>((resolve, reject) => {
      const look = () => {
        const match = out.match(pattern)
        if (match === null) return
        child.stdout.off('data', look)
        resolve(match)
      }
      child.stdout.on('data', look)
      look()
      void ended.then(() =>
        reject(new Error(`${command} ended without ${pattern}; out: ${out}; err: ${err}`)),
      )
    })
  return { process: child, pid, out: () => out, err: () => err, shows, ended }
}

export interface SeenProcess {
  readonly pid: number
  /** arguments, NUL after each */
  readonly cmdline: Buffer
  /** variables, NUL after each; undefined where it may not be read */
  readonly environ: Buffer | undefined
}

/** A process and all below it, as /proc has them now. What ends meanwhile is left out. */
export function processTree(root: number): SeenProcess[] {
  const children = new Map<number, number[]>()
  for (const name of readdirSync('/proc').filter((each) => /^\d+$/.test(each))) {
    const stat = readIfThere(`/proc/${name}/stat`)?.toString('latin1')
    if (stat === undefined) continue
    // The name of the program stands in parentheses and may hold anything.
    const parent = Number(stat.slice(stat.lastIndexOf(')') + 2).split(' ')[1])
    children.set(parent, [...(children.get(parent) ?? []), Number(name)])
  }
  const found: SeenProcess[] = []
  for (const waiting = [root]; waiting.length > 0; ) {
    const pid = waiting.pop()!
    waiting.push(...(children.get(pid) ?? []))
    const cmdline = readIfThere(`/proc/${pid}/cmdline`)
    if (cmdline === undefined) continue
    found.push({ pid, cmdline, environ: readIfThere(`/proc/${pid}/environ`) })
  }
  return found
}

function readIfThere(file: string): Buffer | undefined {
  try {
    return readFileSync(file)
  } catch {
    // Ended while we looked, or not dumpable: the caller sees which by what is missing.
    return undefined
  }
}
