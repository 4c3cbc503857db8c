/**
 * A host program: sets a relay up as its argument says, and then evaluates each line of its standard input (a script, as a
 * JSON string) and answers with one line of JSON, until the input ends. The first line is about the set-up.
 *
 * Scripts have `relay` (what init gave back, where it is enabled), `lines` (the log so far), `block(ms)`,
 * `childThrough(port, ms)`, which waits for a child that opens a tunnel, and gives back the first that it reads; and
 * `provoke(what)`, which a thread of faulty-thread.ts hears.
 */
import { spawnSync } from 'node:child_process'
import { createInterface } from 'node:readline'
import { BroadcastChannel } from 'node:worker_threads'
import { evaluate, tell } from '../support/answering.js'

/** With `program`, the relay alone, in a worker that runs that file; else init. */
export interface HostSettings {
  /** as init takes them */
  readonly given: Readonly<Record<string, unknown>>
  /** the package's dist folder, as a URL */
  readonly dist: string
  readonly program?: string | undefined
  readonly token: string
  readonly caPem: string
  /** the host has a log function that throws */
  readonly logThrows?: boolean | undefined
}

export interface SetUp {
  readonly enabled: boolean
  /** empty where it is enabled */
  readonly reason: string
  readonly port: number
}

const settings = JSON.parse(process.argv[2] ?? '') as HostSettings
const lines: string[] = []
const log = (line: string) => {
  lines.push(line)
  if (settings.logThrows) throw new Error('a log that fails')
}
const relay = await (settings.program === undefined ? byInit() : alone(settings.program))
const channel = new BroadcastChannel('relay-thread-test')
channel.unref?.()
Object.assign(globalThis, {
  relay,
  lines,
  block,
  childThrough,
  provoke: (what: string) => channel.postMessage(what),
})
tell({ enabled: relay.port > 0, reason: relay.reason ?? '', port: relay.port } satisfies SetUp)
for await (const line of createInterface({ input: process.stdin })) tell(await evaluate(JSON.parse(line)))
channel.close()

async function byInit() {
  const { initUpstreamProxy } = await import(new URL('index.js', settings.dist).href)
  const result = await initUpstreamProxy({ ...settings.given, log })
  return result.enabled ? result : { port: 0, reason: result.reason }
}

async function alone(program: string) {
  const part = (name: string) => import(new URL(name, settings.dist).href)
  const { RelayThread } = await part('relay/threaded-relay.js')
  const { DEFAULT_LIMITS } = await part('limits.js')
  const { baseUrl, limits } = settings.given as { baseUrl: string; limits?: object }
  const options = {
    port: 0,
    baseUrl: new URL(baseUrl),
    roots: [settings.caPem],
    sessionId: 'session-1',
    token: { reveal: () => settings.token },
    limits: { ...DEFAULT_LIMITS, ...limits },
    log: { level: 'info', format: 'text', write: log },
  }
  try {
    return await new RelayThread(options, new URL(program)).listen(options)
  } catch (error) {
    return { port: 0, reason: (error as { code: string }).code }
  }
}

function block(ms: number): void {
  const until = performance.now() + ms
  while (performance.now() < until);
}

function childThrough(port: number, ms: number): string {
  const program = `
    const socket = require('node:net').connect(${port}, '127.0.0.1')
    socket.write('CONNECT origin.test:443 HTTP/1.1\\r\\n\\r\\n')
    socket.once('data', (bytes) => { process.stdout.write(bytes); process.exit() })`
  const { stdout, error } = spawnSync(process.execPath, ['-e', program], { timeout: ms, encoding: 'utf8' })
  return error === undefined ? stdout : String((error as NodeJS.ErrnoException).code)
}
