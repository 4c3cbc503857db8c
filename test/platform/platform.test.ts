import { type ChildProcess, spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import t from 'tap'
import { capabilities } from '#src/platform/index.js'
import { loadPrctl } from '#src/platform/koffi.js'
import { within } from '../support/deadline.js'

const LINUX = process.platform === 'linux' ? {} : { skip: 'prctl is of Linux' }
// As root every process can be read: then the experiment is made as nobody.
const SAME_USER = process.getuid?.() === 0 ? { uid: 65534, gid: 65534 } : {}

t.test('the capability table says what serves each capability, and why', LINUX, async (t) => {
  const table = capabilities()
  t.same(Object.keys(table), ['non-dumpable'])
  t.match(table['non-dumpable'].implementation, /^(koffi|@koromix\/koffi-linux-\w+) \d+\.\d+\.\d+$/)
  t.match(table['non-dumpable'].why, /./)
})

t.test('without prctl, or without koffi, it says so and does not throw', async (t) => {
  t.same(loadPrctl('darwin', 'arm64'), { absent: "prctl is Linux's, and this is darwin" })
  t.match(loadPrctl('linux', 'mips'), {
    absent: /koffi: not installed; @koromix\/koffi-linux-mips: not installed/,
  })
})

t.test('asking for the table changes nothing', LINUX, async (t) => {
  t.equal(await environOfChild(t, 'capabilities()'), 'readable')
})

t.test('a process of the same user can no longer read one that is non-dumpable', LINUX, async (t) => {
  t.equal(await environOfChild(t, 'undefined'), 'readable', 'the experiment can fail')
  t.equal(await environOfChild(t, 'makeNonDumpable()'), 'denied')
})

interface Teardown {
  teardown(close: () => void): void
}

// Runs an expression in a child; then another process of its user tries to read the child's environment.
async function environOfChild(t: Teardown, expression: string): Promise<string> {
  const module = new URL('../../dist/platform/index.js', import.meta.url).href
  const program = `
    import { capabilities, makeNonDumpable } from ${JSON.stringify(module)}
    const result = ${expression}
    if (result?.failed) throw new Error(result.failed)
    process.stdout.write('ready')
    process.stdin.resume()`
  const child: ChildProcess = spawn(process.execPath, ['--input-type=module', '-e', program], {
    ...SAME_USER,
    stdio: ['pipe', 'pipe', 'inherit'],
    env: { CANARY: 'canary' },
  })
  t.teardown(() => child.kill())
  await within(once(child.stdout!, 'data'), 'the child')
  const { status, stdout } = spawnSync('cat', [`/proc/${child.pid}/environ`], {
    ...SAME_USER,
    encoding: 'utf8',
  })
  if (status !== 0) return 'denied'
  return stdout.includes('CANARY=canary') ? 'readable' : stdout
}
