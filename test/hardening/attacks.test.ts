/**
 * Another process of the same user tries to get at what a relay's process holds: first where nothing guards it, where
 * each attack has to succeed or to be blocked by the kernel already, for a reason that can be shown; then where our
 * init has done its part. A second user tries, too. What docs/security.md says is stopped is what is tried here.
 */
import { spawnSync } from 'node:child_process'
import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { within } from '../support/deadline.js'
import { matchWhole } from '../support/match-whole.js'
import { CANARY, runtimes } from './host.js'
import { attack, attacking, heapHas, inspectorUrl, SECRET, startVictim, UID, type Victim } from './victim.js'

const OTHER_UID = 65533
const SKIP = attacking('gdb', 'gcore', 'strace')
const DOC = readFileSync(new URL('../../docs/security.md', import.meta.url), 'utf8')

interface Attack {
  readonly name: string
  /** the victim is dead afterwards, so it needs one of its own */
  readonly ends?: true
  /** that it leaks where nothing guards is shown on one runtime */
  readonly leakShownOnce?: true
  /** `leaked`, or `refused` and why */
  run(victim: Victim, uid: number): Promise<string>
}

const OF_MEMORY: readonly Attack[] = ['process_vm_readv', 'mem', 'gdb'].map((name) => ({
  name,
  run: ({ host, regions }, uid) => attack(name, uid, [String(host.pid), CANARY, ...regions]),
}))

// It writes a gigabyte.
const GCORE: Attack = {
  name: 'gcore',
  leakShownOnce: true,
  run: ({ host }, uid) => attack('gcore', uid, [String(host.pid), CANARY]),
}

// What it writes is seen by a tracer; what it has open and was given, by who may read its files in /proc.
const OF_FILES: readonly Attack[] = ['strace', 'environ', 'fd', 'pidfd_getfd'].map((name) => ({
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

const CORES: readonly Attack[] = ['SIGQUIT', 'SIGABRT'].map((name) => ({
  name,
  ends: true,
  async run({ host }, uid) {
    const sent = await attack(name, uid, [String(host.pid), CANARY])
    if (sent !== 'sent') return sent
    await within(host.ended, 'its end')
    const cores = readdirSync(host.folder).filter((file) => file.startsWith('core'))
    const holds = cores.some((file) => readFileSync(join(host.folder, file)).includes(CANARY))
    return holds ? 'leaked' : 'refused CORE'
  },
}))

const ATTACKS: readonly Attack[] = [...OF_MEMORY, GCORE, ...OF_FILES, INSPECTOR, ...CORES]
// SIGUSR1 is no way in there: its default action ends the process, hardened or not. What the others would write to disk
// are its gigabytes of reserved memory.
const NOT_ON_BUN = ['SIGUSR1', 'gdb', 'gcore', 'SIGQUIT', 'SIGABRT']

for (const [index, [name, program]] of runtimes({ bun: true }).entries()) {
  t.test(`what leaks from an unhardened process does not leak from ours, on ${name}`, SKIP, async (t) => {
    const pair = async (t: Test) => {
      const open = await startVictim(t, { program, hardening: 'off' })
      const hardened = await startVictim(t, { program })
      matchWhole(
        t,
        [open.host.report, hardened.host.report],
        [{ enabled: true }, { enabled: true, lines: [] }],
      )
      return { open, hardened }
    }
    const lasting = await pair(t)
    const attacks = name === 'bun' ? ATTACKS.filter((attack) => !NOT_ON_BUN.includes(attack.name)) : ATTACKS
    for (const attack of attacks) {
      const { open, hardened } = attack.ends ? await pair(t) : lasting
      if (index === 0 || !attack.leakShownOnce) assertLeak(t, attack.name, await attack.run(open, UID))
      const answer = await attack.run(hardened, UID)
      t.match(answer, /^refused (?:EPERM|EACCES|INSPECTOR|CORE)$/, `${attack.name}: does not leak from ours`)
    }
    t.equal(existsSync(lasting.hardened.host.tokenFile), false)
  })
}

t.test('another user gets at neither of them', SKIP, async (t) => {
  for (const hardening of ['off', 'default'] as const) {
    const victim = await startVictim(t, { hardening })
    for (const attack of ATTACKS)
      t.match(
        await attack.run(victim, OTHER_UID),
        /^refused E(?:PERM|ACCES)$/,
        `${attack.name}, hardening ${hardening}`,
      )
  }
})

t.test('the documentation names each attack, as one that was tried', async (t) => {
  const rows = [...DOC.matchAll(/^\| (.*) \| yes: [^|]* \| tried \|$/gm)].map(([, ways]) => ways!).join(' ')
  const NAMES: Readonly<Record<string, string>> = {
    gdb: 'gdb -p',
    strace: 'strace -p',
    mem: '/proc/PID/mem',
    environ: '/proc/PID/environ',
    fd: '/proc/PID/fd',
    SIGUSR1: 'kill -USR1',
  }
  for (const { name } of ATTACKS) t.ok(rows.includes(NAMES[name] ?? name), name)
})

function assertLeak(t: Test, name: string, answer: string): void {
  const blocked = answer === 'leaked' ? undefined : blockedAlready(name, answer)
  const title = `${name}: leaks where nothing guards`
  if (blocked === undefined) t.equal(answer, 'leaked', title)
  else t.pass(title, { skip: blocked })
}

// Why an attack comes to nothing on this machine whatever the victim does; undefined where it should have worked.
function blockedAlready(name: string, answer: string): string | undefined {
  if (CORES.some((core) => core.name === name)) {
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
