import { type ChildProcess, spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import t from 'tap'
import { mappedLibc } from '#src/platform/bun-ffi.js'
import { capabilities } from '#src/platform/index.js'
import { koffiPackages, loadKoffi } from '#src/platform/koffi.js'
import { systemCallError } from '#src/platform/system-call-error.js'
import { tracerPid } from '#src/platform/tracer.js'
import { within } from '../support/deadline.js'
import { sigusr1Of } from '../support/disposition.js'

const LINUX = process.platform === 'linux' ? {} : { skip: 'prctl is of Linux' }
// As root every process can be read: then the experiment is made as nobody.
const SAME_USER = process.getuid?.() === 0 ? { uid: 65534, gid: 65534 } : {}

t.test('the capability table says what serves each capability, and why', LINUX, async (t) => {
  const table = capabilities()
  t.same(Object.keys(table), ['non-dumpable', 'sigusr1', 'tracer', 'framing', 'socket-writes'])
  const native = table['non-dumpable']
  t.match(native.implementation, /^(?:addon|koffi)$/)
  t.match(
    native.why,
    native.implementation === 'addon'
      ? /upstreamproxy\.node \(interface 2\)/
      : /koffi\S* \d+\.\d+\.\d+: .*; addon: /,
  )
  t.same(table.sigusr1, native)
  t.equal(table.tracer.implementation, native.implementation === 'addon' ? 'addon' : 'typescript')
  const dataPath = native.implementation === 'addon' ? 'addon' : 'typescript'
  t.match(table, { framing: { implementation: dataPath }, 'socket-writes': { implementation: dataPath } })
  t.match(capabilities('node'), {
    framing: { implementation: 'typescript', why: /the portable engine/ },
    'socket-writes': { implementation: 'typescript', why: /the portable engine/ },
  })
})

t.test('on a system without prctl it says so and does not throw', async (t) => {
  const table = JSON.parse(
    await told(t, `Object.defineProperty(process, 'platform', { value: 'sunos' })`, TABLE),
  )
  t.match(table, {
    'non-dumpable': { implementation: 'unsupported', why: "prctl is Linux's, and this is sunos" },
    sigusr1: { implementation: 'typescript', why: /a listener of its own alone/ },
    tracer: { implementation: 'unsupported', why: "TracerPid is Linux's, and this is sunos" },
  })
  const riscv = JSON.parse(
    await told(t, `Object.defineProperty(process, 'arch', { value: 'riscv64' })`, TABLE),
  )
  t.match(riscv, {
    'non-dumpable': {
      implementation: 'unsupported',
      why: /addon: none for linux-riscv64; koffi: knows x64 and arm64/,
    },
  })
})

t.test('without koffi it names what was tried', async (t) => {
  t.same(loadKoffi([koffiPackages('mips')[0]!, { name: 'not-there', why: '' }]), {
    absent: '@koromix/koffi-linux-mips: not installed; not-there: not installed',
  })
  t.match(loadKoffi([{ name: 'ws', why: 'it is no koffi' }]), {
    absent: /^ws: koffi\.load is not a function/,
  })
})

t.test('the C library is found by the path from which it is mapped', async (t) => {
  const line = (path: string) => `7f0000000000-7f0000001000 r-xp 00000000 fe:00 1234   ${path}\n`
  for (const path of [
    '/usr/lib/x86_64-linux-gnu/libc.so.6',
    '/lib/ld-musl-aarch64.so.1',
    '/lib64/libc-2.31.so',
  ])
    t.equal(mappedLibc(line('/usr/bin/bun') + line(path) + line('[heap]')), path)
  for (const path of ['/tmp/libc.so.6 (deleted)', '/usr/lib/libc.so.60', '/usr/lib/libcap.so.2'])
    t.equal(mappedLibc(line(path)), undefined)
})

t.test('a tracer that /proc does not tell of is an error with its errno', async (t) => {
  t.throws(() => tracerPid('/not-there'), { code: 'ENOENT', errno: 2, syscall: 'open' })
  const folder = t.testdir({ self: { task: { 1: { status: 'Name:\tnode\n' }, 2: {} } } })
  t.throws(() => tracerPid(folder), { code: 'ENODATA', errno: 61, syscall: 'read' })
  const traced = t.testdir({
    self: { task: { 1: { status: 'TracerPid:\t0\n' }, 2: {}, 3: { status: 'TracerPid:\t77\n' } } },
  })
  t.equal(tracerPid(traced), 77, 'a thread that has ended is passed over')
})

t.test('an errno without a name is EUNKNOWN', async (t) => {
  t.match(systemCallError('prctl', 1), { code: 'EPERM', errno: 1, message: 'prctl: EPERM' })
  for (const errno of [0, 4000]) t.match(systemCallError('prctl', errno), { code: 'EUNKNOWN', errno })
})

t.test('asking for the table changes nothing', LINUX, async (t) => {
  const child = await startChild(t, '0', TABLE)
  t.equal(sigusr1Of(child.pid), 'caught', 'by Node')
  t.equal(environOf(child.pid), 'readable')
})

t.test('a process of the same user can no longer read one that is non-dumpable', LINUX, async (t) => {
  t.equal(environOf((await startChild(t, '0', '0')).pid), 'readable', 'the experiment can fail')
  const harden = `(await import(${module('../hardening.js')})).harden('strict', process.env, console).then(() => 1)`
  t.equal(environOf((await startChild(t, '0', `await ${harden}`)).pid), 'denied')
})

interface Teardown {
  teardown(close: () => void): void
}

// Runs a statement, then tells the value of an expression.
async function told(t: Teardown, first: string, expression: string): Promise<string> {
  return (await startChild(t, first, expression)).said
}

async function startChild(
  t: Teardown,
  first: string,
  expression: string,
): Promise<{ pid: number; said: string }> {
  const program = `${first}
    process.stdout.write(JSON.stringify(${expression}))
    process.stdin.resume()`
  const child: ChildProcess = spawn(process.execPath, ['--input-type=module', '-e', program], {
    ...SAME_USER,
    stdio: ['pipe', 'pipe', 'inherit'],
    env: { CANARY: 'canary' },
  })
  t.teardown(() => child.kill())
  const [said] = await within(once(child.stdout!, 'data'), 'the child')
  return { pid: child.pid!, said: String(said) }
}

function environOf(pid: number): string {
  const { status, stdout } = spawnSync('cat', [`/proc/${pid}/environ`], { ...SAME_USER, encoding: 'utf8' })
  if (status !== 0) return 'denied'
  return stdout.includes('CANARY=canary') ? 'readable' : stdout
}

function module(path: string): string {
  return JSON.stringify(new URL(`../../dist/platform/${path}`, import.meta.url).href)
}

const TABLE = `(await import(${module('index.js')})).capabilities()`
