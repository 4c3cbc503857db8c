/** What /proc shows of processes to everybody of the same user: Linux only. */
import { readdirSync, readFileSync } from 'node:fs'

export interface SeenProcess {
  readonly pid: number
  /** its arguments, the program's name first */
  readonly words: readonly string[]
  /** undefined where the process does not let itself be read: the relay, once it holds the token */
  readonly environment: Readonly<Record<string, string>> | undefined
}

/** A process and all below it, as they are now; undefined where there is no /proc. */
export function processesUnder(root: number): SeenProcess[] | undefined {
  if (process.platform !== 'linux') return undefined
  const parents = new Map(
    readdirSync('/proc')
      .filter((name) => /^\d+$/.test(name))
      .map((name) => [Number(name), parentOf(Number(name))]),
  )
  const isUnder = (pid: number | undefined): boolean =>
    pid !== undefined && (pid === root || isUnder(parents.get(pid)))
  return [...parents.keys()].filter(isUnder).map((pid) => ({
    pid,
    words: fieldsOf(`/proc/${pid}/cmdline`) ?? [],
    environment: variables(fieldsOf(`/proc/${pid}/environ`)),
  }))
}

function parentOf(pid: number): number | undefined {
  const stat = read(`/proc/${pid}/stat`)
  // The program's name stands in parentheses, and may hold anything.
  return stat === undefined ? undefined : Number(stat.slice(stat.lastIndexOf(')') + 2).split(' ')[1])
}

function variables(fields: string[] | undefined): Record<string, string> | undefined {
  return (
    fields &&
    Object.fromEntries(
      fields.map((field) => [field.slice(0, field.indexOf('=')), field.slice(field.indexOf('=') + 1)]),
    )
  )
}

function fieldsOf(file: string): string[] | undefined {
  return read(file)?.split('\0').slice(0, -1)
}

function read(file: string): string | undefined {
  try {
    return readFileSync(file, 'utf8')
  } catch {
    // It has ended meanwhile, or may not be read.
    return undefined
  }
}
