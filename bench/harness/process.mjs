/**
 * Processes that a measurement starts: pinned to cores, spoken to in lines of JSON, weighed from outside.
 *
 * Rule 1: whatever is started is ended, by its pid, also where the harness fails.
 */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { readdirSync, readFileSync } from 'node:fs'
import { availableParallelism } from 'node:os'
import { createInterface } from 'node:readline'

const running = new Set()
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP']) process.once(signal, () => process.exit(1))
process.on('exit', () => {
  for (const child of running) child.kill('SIGKILL')
})

const cores = availableParallelism()
/** The relay has the last core to itself; what loads it shares the others. Alone on one core, nothing is pinned. */
export const CORES = cores > 1 ? { relay: `${cores - 1}`, load: `0-${cores - 2}` } : undefined

export class Process {
  #child
  #lines = []
  #waiting
  #ended = false
  #said = ''

  /** `place`: 'relay' or 'load', the cores it is pinned to. `ipc`: a channel for messages, as fork() has it. */
  constructor(command, { place, env = {}, ipc, cwd } = {}) {
    const pinned = CORES && place ? ['taskset', '-c', CORES[place], ...command] : command
    this.#child = spawn(pinned[0], pinned.slice(1), {
      stdio: ['pipe', 'pipe', 'pipe', ...(ipc ? ['ipc'] : [])],
      env: { ...process.env, ...env },
      cwd,
    })
    running.add(this.#child)
    this.#child.once('exit', () => running.delete(this.#child))
    this.#child.once('close', () => this.#end())
    this.#child.once('error', (error) => this.#end(error.message))
    this.#child.stdin.on('error', () => this.#end())
    this.#child.stderr.on('data', (text) => {
      this.#said = (this.#said + text).slice(-2000)
    })
    createInterface({ input: this.#child.stdout }).on('line', (line) => {
      if (this.#waiting) this.#waiting.resolve(line)
      else this.#lines.push(line)
      this.#waiting = undefined
    })
  }

  get pid() {
    return this.#child.pid
  }

  get ended() {
    return this.#ended
  }

  /** the last that it wrote to standard error */
  get said() {
    return this.#said
  }

  /** The next line of its standard output, as JSON. Rejects where it ends, or says nothing for `ms`. */
  async next(ms = 60_000) {
    if (this.#lines.length > 0) return JSON.parse(this.#lines.shift())
    if (this.#ended) throw new Error(`${this.#child.spawnargs.join(' ')} has ended: ${this.#said}`)
    let timer
    const line = await new Promise((resolve, reject) => {
      this.#waiting = { resolve, reject }
      timer = setTimeout(() => {
        this.#waiting = undefined
        reject(new Error(`${this.#child.spawnargs.join(' ')}: silent for ${ms} ms`))
      }, ms)
    }).finally(() => clearTimeout(timer))
    return JSON.parse(line)
  }

  say(line) {
    this.#child.stdin.write(`${line}\n`)
  }

  send(message) {
    this.#child.send(message)
  }

  async stop() {
    if (this.#child.exitCode !== null || this.#child.signalCode !== null || this.pid === undefined) return
    const gone = once(this.#child, 'exit')
    this.#child.kill('SIGKILL')
    await gone
  }

  #end(why = '') {
    this.#ended = true
    this.#said += why
    this.#waiting?.reject(new Error(`${this.#child.spawnargs.join(' ')} has ended: ${this.#said}`))
    this.#waiting = undefined
  }
}

/** CPU seconds that a process and its children have used so far, all threads, user and system. */
export function cpuSeconds(pid) {
  if (read(`/proc/${pid}/schedstat`) === '') throw new Error(`no /proc/${pid}/schedstat: the relay has ended`)
  let nanoseconds = 0
  for (const each of family(pid))
    for (const thread of readdirSync(`/proc/${each}/task`))
      nanoseconds += Number(read(`/proc/${each}/task/${thread}/schedstat`).split(' ')[0])
  return nanoseconds / 1e9
}

/** Resident bytes of a process and its children. */
export function residentBytes(pid) {
  const kilobytes = (each) => Number(/^VmRSS:\s+(\d+)/m.exec(read(`/proc/${each}/status`))?.[1] ?? 0)
  return family(pid).reduce((sum, each) => sum + kilobytes(each) * 1024, 0)
}

function family(pid) {
  const children = readdirSync(`/proc/${pid}/task`).flatMap((thread) =>
    read(`/proc/${pid}/task/${thread}/children`).trim().split(' ').filter(Boolean),
  )
  return [pid, ...children.flatMap((child) => family(Number(child)))]
}

// A thread or a child may end between being listed and being read.
function read(path) {
  try {
    return readFileSync(path, 'latin1')
  } catch {
    return ''
  }
}
