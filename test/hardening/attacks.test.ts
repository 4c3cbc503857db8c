/**
 * Another process of the same user tries to get at what a relay's process holds: first where nothing guards it, where
 * each attack has to succeed or to be blocked by the kernel already, for a reason that can be shown; then where our
 * init has done its part. A second user tries, too.
 *
 * It takes root to be two users without privilege; none of them needs to exist.
 */
import { spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { type AddressInfo, createServer } from 'node:net'
import { join } from 'node:path'
import { text } from 'node:stream/consumers'
import { fileURLToPath } from 'node:url'
import t, { type Test } from 'tap'
import { WebSocket } from 'ws'
import { pause, within } from '../support/deadline.js'
import { matchWhole } from '../support/match-whole.js'
import { CANARY, type Host, runtimes, startHost } from './host.js'

const UID = 65534
const OTHER_UID = 65533
// In its environment and in a file; what lies in its heap is the token.
const SECRET = 'canary-90a4e1b7c3'
const PATH = '/usr/local/bin:/usr/bin:/bin'
const PROGRAM = fileURLToPath(new URL('../../test/hardening/attack.py', import.meta.url))
const SKIP = whyNotHere()

interface Victim {
  readonly host: Host
  readonly inspectorPort: number
  /** how long to wait for it to open */
  readonly inspectorMs: number
  /** its writable memory, as START-END */
  readonly regions: readonly string[]
}

interface Attack {
  readonly name: string
  /** `leaked`, or `refused` and why */
  run(victim: Victim, uid: number): Promise<string>
}

const OF_MEMORY: readonly Attack[] = ['process_vm_readv', 'mem', 'gdb'].map((name) => ({
  name,
  run: ({ host, regions }, uid) => attack(name, uid, [String(host.pid), CANARY, ...regions]),
}))

const OF_FILES: readonly Attack[] = ['environ', 'fd', 'pidfd_getfd'].map((name) => ({
  name,
  run: ({ host }, uid) => attack(name, uid, [String(host.pid), SECRET]),
}))

// The inspector is asked for the heap, which is where the token is.
const INSPECTOR: Attack = {
  name: 'SIGUSR1',
  async run({ host, inspectorPort, inspectorMs }, uid) {
    const sent = await attack('SIGUSR1', uid, [String(host.pid), CANARY])
    if (sent !== 'sent') return sent
    const url = await inspectorUrl(inspectorPort, inspectorMs)
    if (url === undefined) return 'refused INSPECTOR'
    return (await heapHas(url, CANARY)) ? 'leaked' : 'refused NOTHING'
  },
}

// Last: it ends the victim.
const CORE: Attack = {
  name: 'SIGQUIT',
  async run({ host }, uid) {
    const sent = await attack('SIGQUIT', uid, [String(host.pid), CANARY])
    if (sent !== 'sent') return sent
    await within(host.ended, 'its end')
    const cores = readdirSync(host.folder).filter((file) => file.startsWith('core'))
    const holds = cores.some((file) => readFileSync(join(host.folder, file)).includes(CANARY))
    return holds ? 'leaked' : 'refused CORE'
  },
}

const ATTACKS: readonly Attack[] = [...OF_MEMORY, ...OF_FILES, INSPECTOR, CORE]
// SIGUSR1 is no way in there: its default action ends the process, hardened or not. What the others would write to disk
// are its gigabytes of reserved memory.
const NOT_ON_BUN = ['SIGUSR1', 'gdb', 'SIGQUIT']

for (const [name, program] of runtimes({ bun: true })) {
  t.test(`what leaks from an unhardened process does not leak from ours, on ${name}`, SKIP, async (t) => {
    const open = await startVictim(t, program, 'off')
    const hardened = await startVictim(t, program, 'default')
    matchWhole(t, [open.host.report, hardened.host.report], [{ enabled: true }, { enabled: true, lines: [] }])
    const attacks = name === 'bun' ? ATTACKS.filter((attack) => !NOT_ON_BUN.includes(attack.name)) : ATTACKS
    for (const attack of attacks) {
      const leak = await attack.run(open, UID)
      const blocked = leak === 'leaked' ? undefined : blockedAlready(attack.name, leak)
      if (blocked === undefined) t.equal(leak, 'leaked', `${attack.name}: leaks where nothing guards`)
      else t.pass(`${attack.name}: leaks where nothing guards`, { skip: blocked })
      const answer = await attack.run(hardened, UID)
      t.match(answer, /^refused (?:EPERM|EACCES|INSPECTOR|CORE)$/, `${attack.name}: does not leak from ours`)
    }
    t.equal(existsSync(hardened.host.tokenFile), false)
  })
}

t.test('another user gets at neither of them', SKIP, async (t) => {
  for (const hardening of ['off', 'default'] as const) {
    const victim = await startVictim(t, process.execPath, hardening)
    for (const attack of ATTACKS)
      t.match(
        await attack.run(victim, OTHER_UID),
        /^refused E(?:PERM|ACCES)$/,
        `${attack.name}, hardening ${hardening}`,
      )
  }
})

async function startVictim(t: Test, program: string, hardening: 'off' | 'default'): Promise<Victim> {
  const inspectorPort = await freePort()
  const host = await startHost(t, {
    program,
    uid: UID,
    given: { hardening },
    flags: program.endsWith('bun') ? [] : [`--inspect-port=127.0.0.1:${inspectorPort}`],
    env: { SECRET },
    // Into a file that has no name any more.
    before: `fs.writeFileSync('secret', process.env.SECRET); fs.openSync('secret'); fs.unlinkSync('secret')`,
    through: ['sh', '-c', 'ulimit -c "$(ulimit -H -c)"; exec "$@"', 'sh'],
  })
  const maps = (await host.ask(`fs.readFileSync('/proc/self/maps', 'latin1')`)) as string
  // Its heaps: writable, private, of no file.
  const regions = [...maps.matchAll(/^(\S+) rw-p \S+ \S+ 0\s*(?:\[heap\])?$/gm)].map(([, range]) => range!)
  return { host, inspectorPort, inspectorMs: hardening === 'off' ? 5_000 : 500, regions }
}

async function attack(name: string, uid: number, words: readonly string[]): Promise<string> {
  const argv = ['-i', `PATH=${PATH}`, 'python3', PROGRAM, name, ...words]
  const child = spawn('env', argv, { uid, gid: uid, stdio: ['ignore', 'pipe', 'pipe'] })
  const ended = Promise.all([text(child.stdout), text(child.stderr), once(child, 'close')])
  const [out, errors, [status]] = await within(ended, `${name}`, 40_000)
  if (status !== 0) throw new Error(`${name}: ${errors}`)
  return out.trim()
}

async function inspectorUrl(port: number, ms: number): Promise<string | undefined> {
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

async function heapHas(url: string, canary: string): Promise<boolean> {
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

// Why an attack comes to nothing on this machine whatever the victim does; undefined where it should have worked.
function blockedAlready(name: string, answer: string): string | undefined {
  if (name === 'SIGQUIT') {
    const pattern = read('/proc/sys/kernel/core_pattern')
    if (!pattern.startsWith('core')) return `the kernel gives cores to: ${pattern}`
    const limit = spawnSync('sh', ['-c', 'ulimit -H -c'], { encoding: 'utf8' }).stdout.trim()
    return limit === '0' ? 'the hard limit on cores is 0' : undefined
  }
  if (!/^refused E(?:PERM|ACCES|NOSYS)$/.test(answer)) return undefined
  const scope = read('/proc/sys/kernel/yama/ptrace_scope')
  if (!['environ', 'fd', 'SIGUSR1'].includes(name) && Number(scope) > 0)
    return `${answer}: ptrace_scope is ${scope}`
  const filtered = /^Seccomp:\s*2$/m.test(read('/proc/self/status'))
  return filtered ? `${answer}: a seccomp filter is on this container` : undefined
}

function read(path: string): string {
  return existsSync(path) ? readFileSync(path, 'utf8').trim() : ''
}

async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as AddressInfo
  server.close()
  await once(server, 'close')
  return port
}

function whyNotHere(): { skip?: string } {
  if (process.platform !== 'linux') return { skip: 'of Linux' }
  // Promised there: .ci/run runs as root and installs the programs.
  if (process.env['CI']) return {}
  if (process.getuid?.() !== 0) return { skip: 'needs root, to be two other users' }
  const missing = ['python3', 'gdb'].find((name) => spawnSync(name, ['--version']).status !== 0)
  return missing === undefined ? {} : { skip: `needs ${missing}` }
}
