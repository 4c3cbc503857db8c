/** A process that holds secrets, and how others get at them. It takes root to be users without privilege; none needs to exist. */
import { spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { type AddressInfo, createServer } from 'node:net'
import { text } from 'node:stream/consumers'
import { fileURLToPath } from 'node:url'
import type { Test } from 'tap'
import { WebSocket } from 'ws'
import { pause, within } from '../support/deadline.js'
import { type Host, startHost } from './host.js'

/** Whom the victim runs as, and its attacker. */
export const UID = 65534
/** In its environment, in a file, and in what it writes all the time; what lies in its heap is the token. */
export const SECRET = 'canary-90a4e1b7c3'
export const ATTACK_PROGRAM = fileURLToPath(new URL('../../test/hardening/attack.py', import.meta.url))

export interface Victim {
  readonly host: Host
  /** where its inspector listens, if it does */
  readonly inspectorPort: number
  /** how long to wait for it to open */
  readonly inspectorMs: number
  /** its writable memory, as START-END */
  readonly regions: readonly string[]
}

export interface VictimSettings {
  readonly program?: string
  readonly hardening?: 'off' | 'default'
  readonly flags?: readonly string[]
  readonly env?: Readonly<Record<string, string>>
  /** evaluated before init */
  readonly before?: string
}

export async function startVictim(t: Test, settings: VictimSettings = {}): Promise<Victim> {
  const { program = process.execPath, hardening = 'default', flags = [], env = {}, before = '0' } = settings
  const inspectorPort = await freePort()
  const host = await startHost(t, {
    program,
    uid: UID,
    // In the thread whose heap an inspector shows at once, so that what leaks without guards surely leaks.
    given: { hardening, relay: { thread: false } },
    flags: program.endsWith('bun') ? flags : [`--inspect-port=127.0.0.1:${inspectorPort}`, ...flags],
    env: { SECRET, ...env },
    // Into a file that has no name any more.
    before: `fs.writeFileSync('secret', process.env.SECRET); fs.openSync('secret'); fs.unlinkSync('secret')
      setInterval(() => fs.writeFileSync('/dev/null', process.env.SECRET), 20).unref()
      ${before}`,
    through: ['sh', '-c', 'ulimit -c "$(ulimit -H -c)"; exec "$@"', 'sh'],
  })
  const maps = (await host.ask(`fs.readFileSync('/proc/self/maps', 'latin1')`)) as string
  // Its heaps: writable, private, of no file.
  const regions = [...maps.matchAll(/^(\S+) rw-p \S+ \S+ 0\s*(?:\[heap\])?$/gm)].map(([, range]) => range!)
  return { host, inspectorPort, inspectorMs: hardening === 'off' ? 5_000 : 500, regions }
}

/** What an attack of attack.py says, made by a user. */
export async function attack(name: string, uid: number, words: readonly string[]): Promise<string> {
  const argv = ['-i', 'PATH=/usr/local/bin:/usr/bin:/bin', 'python3', ATTACK_PROGRAM, name, ...words]
  const child = spawn('env', argv, { uid, gid: uid, stdio: ['ignore', 'pipe', 'pipe'] })
  const ended = Promise.all([text(child.stdout), text(child.stderr), once(child, 'close')])
  const [out, errors, [status]] = await within(ended, name, 90_000)
  if (status !== 0) throw new Error(`${name}: ${errors}`)
  return out.trim()
}

/** The address of the inspector, which holds the secret that a client needs; undefined where nobody listens in time. */
export async function inspectorUrl(port: number, ms: number): Promise<string | undefined> {
  const end = Date.now() + ms
  do {
    try {
      const response = await fetch(`http://127.0.0.1:${port}/json/list`)
      const [target] = (await response.json()) as { webSocketDebuggerUrl: string }[]
      return target?.webSocketDebuggerUrl
    } catch {
      // Nobody listens: not yet, or not at all.
      await pause(20)
    }
  } while (Date.now() < end)
  return undefined
}

/** Whether the heap, which an inspector is asked for, has a text in it. */
export async function heapHas(url: string, canary: string): Promise<boolean> {
  const socket = new WebSocket(url, { perMessageDeflate: false })
  let snapshot = ''
  const taken = new Promise<void>((resolve, reject) => {
    socket.on('error', reject)
    socket.on('open', () => socket.send('{"id":1,"method":"HeapProfiler.takeHeapSnapshot"}'))
    socket.on('message', (data) => {
      const { id, params } = JSON.parse(String(data))
      snapshot += params?.chunk ?? ''
      if (id === 1) resolve()
    })
  })
  await within(taken, 'the heap', 30_000)
  socket.terminate()
  return snapshot.includes(canary)
}

/** tap's options for a test that attacks: `{}`, or a `skip`, with its reason. */
export function attacking(...programs: readonly string[]): { skip?: string } {
  if (process.platform !== 'linux') return { skip: 'of Linux' }
  // Promised there: .ci/run runs as root and installs the programs.
  if (process.env['CI']) return {}
  if (process.getuid?.() !== 0) return { skip: 'needs root, to be two other users' }
  const missing = ['python3', ...programs].find((name) => spawnSync(name, ['--version']).error !== undefined)
  return missing === undefined ? {} : { skip: `needs ${missing}` }
}

async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as AddressInfo
  server.close()
  await once(server, 'close')
  return port
}
