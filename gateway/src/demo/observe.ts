/** Runs the client under `upstreamproxy run`, and notes what can be seen from outside. */
import { spawn, spawnSync } from 'node:child_process'
import { existsSync, readFileSync } from 'node:fs'
import { setTimeout as delay } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { processesUnder, type SeenProcess } from './processes.js'
import type { Stage } from './stage.js'

export interface Observed {
  readonly client: 'curl' | 'node'
  /** words of the command that `run` was given */
  readonly command: readonly string[]
  /** of `run`, which gives back the client's */
  readonly status: number | null
  readonly out: string
  readonly err: string
  /** lines of the request that the client sent inside its TLS, as it tells itself */
  readonly sent: readonly string[]
  /** who issued the certificate that the client was shown, as it tells itself */
  readonly issuer: string | undefined
  /** the relay, the client and all between, while the client waited; undefined where there is no /proc */
  readonly processes: readonly SeenProcess[] | undefined
  /** variables of the client */
  readonly environment: Readonly<Record<string, string>>
  readonly tokenFileWasGone: boolean
  /** lines of the audit, with what they say */
  readonly audit: readonly { readonly line: string; readonly record: Readonly<Record<string, unknown>> }[]
  readonly auditText: string
  /** from the start of `run` to the request at the origin, and to the end of `run`, in ms */
  readonly times: { readonly toOriginMs: number; readonly totalMs: number }
}

/** Rejects when the signal aborts, or where nothing can be started; no process is left in any case. */
export async function observe(stage: Stage, signal: AbortSignal): Promise<Observed> {
  const client = hasCurl(stage) ? 'curl' : 'node'
  const command = client === 'curl' ? ['curl', '-sSv', stage.url] : [process.execPath, NODE_CLIENT, stage.url]
  let processes: SeenProcess[] | undefined
  const started = performance.now()
  const running = start(stage, command, signal)
  stage.origin.onArrival = () => {
    processes = processesUnder(running.pid)
  }
  const { status, out, err } = await running.ended
  const totalMs = performance.now() - started
  const tokenFileWasGone = !existsSync(stage.sandbox.tokenFile)
  const auditText = await recorded(stage, signal)
  return {
    client,
    command,
    status,
    out,
    err,
    sent: requestLines(err),
    issuer: /^\*\s+issuer: (.*)$/m.exec(err)?.[1],
    processes,
    environment: environmentOf(processes, command) ?? (await askForEnvironment(stage, signal)),
    tokenFileWasGone,
    auditText,
    audit: auditText
      .split('\n')
      .filter((line) => line !== '')
      .map((line) => ({ line, record: JSON.parse(line) as Record<string, unknown> })),
    times: { toOriginMs: (stage.origin.arrivals[0]?.at ?? Number.NaN) - started, totalMs },
  }
}

interface Running {
  readonly pid: number
  readonly ended: Promise<{ status: number | null; out: string; err: string }>
}

// In a process group of its own: what hangs in it can be ended as a whole, and a terminal's Ctrl-C comes to us alone.
function start({ sandbox }: Stage, command: readonly string[], signal: AbortSignal): Running {
  signal.throwIfAborted()
  sandbox.issueToken()
  const [program, ...args] = sandbox.run
  const child = spawn(program, [...args, ...command], {
    cwd: sandbox.home,
    env: sandbox.env,
    stdio: ['ignore', 'pipe', 'pipe'],
    detached: true,
  })
  const pid = child.pid
  let out = ''
  let err = ''
  child.stdout.setEncoding('utf8').on('data', (text: string) => {
    out += text
  })
  child.stderr.setEncoding('utf8').on('data', (text: string) => {
    err += text
  })
  const abort = () => {
    child.kill('SIGTERM')
    setTimeout(() => endGroup(pid), IMPATIENT_MS).unref()
  }
  signal.addEventListener('abort', abort, { once: true })
  const ended = new Promise<{ status: number | null; out: string; err: string }>((resolve, reject) => {
    child.once('error', reject)
    child.once('close', (status) => {
      signal.removeEventListener('abort', abort)
      endGroup(pid)
      if (signal.aborted)
        reject(new Error(`${(signal.reason as Error).message}${err && `; so far:\n${err}`}`))
      else resolve({ status, out, err })
    })
  })
  if (pid === undefined) throw new Error(`${program} could not be started`)
  return { pid, ended }
}

function endGroup(leader: number | undefined): void {
  try {
    if (leader !== undefined) process.kill(-leader, 'SIGKILL')
  } catch {
    // Nobody is left in it, as it should be.
  }
}

// Of the request inside the tunnel: what curl shows after the `>` that are its own, the CONNECT left out.
function requestLines(trace: string): string[] {
  const lines = trace.split(/\r?\n/).filter((line) => line.startsWith('> '))
  const first = lines.findIndex((line) => line.startsWith('> GET '))
  return first < 0
    ? []
    : lines
        .slice(first)
        .map((line) => line.slice(2))
        .filter((line) => line !== '')
}

// Records are written when a request, and a tunnel, have ended; the client may be the first to know.
async function recorded({ auditFile, origin }: Stage, signal: AbortSignal): Promise<string> {
  const expected = origin.arrivals.length > 0 ? ['"event":"request"', '"event":"connect"'] : []
  const end = performance.now() + AUDIT_MS
  let text = readFileSync(auditFile, 'utf8')
  while (!expected.every((event) => text.includes(event)) && performance.now() < end) {
    await delay(POLL_MS, undefined, { signal })
    text = readFileSync(auditFile, 'utf8')
  }
  return text
}

function environmentOf(processes: SeenProcess[] | undefined, command: readonly string[]) {
  return processes?.find(({ words }) => words.join('\0') === command.join('\0'))?.environment
}

// Where there is no /proc to look into: another program in the same place says what it has.
async function askForEnvironment(stage: Stage, signal: AbortSignal): Promise<Record<string, string>> {
  const { out } = await start(stage, [process.execPath, '-p', 'JSON.stringify(process.env)'], signal).ended
  return JSON.parse(out) as Record<string, string>
}

function hasCurl({ sandbox }: Stage): boolean {
  return spawnSync('curl', ['--version'], { env: sandbox.env, stdio: 'ignore' }).status === 0
}

const NODE_CLIENT = fileURLToPath(new URL('node-client.js', import.meta.url))
const IMPATIENT_MS = 1_500
const AUDIT_MS = 2_000
const POLL_MS = 10
