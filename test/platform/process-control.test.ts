/** One suite for every implementation of ProcessControl that is here, on every runtime; then they are compared. */
import { spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { fileURLToPath } from 'node:url'
import t from 'tap'
import { runtimes } from '../hardening/host.js'
import type { ImplementationName } from '../support/control-program.js'
import { eventually, within } from '../support/deadline.js'

const PROGRAM = fileURLToPath(new URL('../support/control-program.js', import.meta.url))
const ATTACK = fileURLToPath(new URL('../../test/hardening/attack.py', import.meta.url))
const LINUX = process.platform === 'linux' ? {} : { skip: 'of Linux' }
// As root every process is readable: then the experiments are made as nobody.
const NOBODY = process.getuid?.() === 0 ? { uid: 65534, gid: 65534 } : {}
const ENV = { PATH: '/usr/local/bin:/usr/bin:/bin' }

// What it answered, and what the kernel said.
const EXPECTED = {
  'dumpable at first': [true, false],
  'non-dumpable': 'done',
  asked: [false, true],
  dumpable: 'done',
  'asked again': [true, false],
  tracer: 0,
  'nothing to restore': 'done',
  'listened to': ['caught', 'caught'],
  'ignored, twice': ['ignored', 'ignored'],
  'signals while ignored': 0,
  restored: ['caught', 'caught'],
  'signals when restored': 1,
  'restored twice': ['caught', 'caught'],
}
// Bun leaves its handler in place when the last listener goes.
const ON_NODE = {
  'set to its default by somebody else': ['default', 'default'],
  'not restored over that': ['default', 'default'],
  'ignored in place of the default': ['ignored', 'ignored'],
  'the default restored': ['default', 'default'],
}

const reports = new Map<string, Record<string, unknown>>()

t.test('every implementation', LINUX, async (t) => {
  for (const [runtime, program] of runtimes({ bun: true })) {
    const names: ImplementationName[] = ['addon', 'koffi', '@koromix']
    if (runtime === 'bun') names.push('bun-ffi')
    for (const name of names) {
      const report = JSON.parse(run(program, [name]))
      if ('absent' in report && name !== 'bun-ffi' && !promised(name)) {
        t.pass(`${name} on ${runtime}`, { skip: report.absent })
        continue
      }
      reports.set(`${name} on ${runtime}`, report)
      t.same(report, { ...EXPECTED, ...(runtime !== 'bun' && ON_NODE) }, `${name} on ${runtime}`)
    }
  }
})

t.test('all of them do the same', LINUX, async (t) => {
  const [first, ...others] = [...reports].map(([name, report]) => {
    const common = Object.entries(report).filter(([what]) => what in EXPECTED)
    return [name, Object.fromEntries(common)] as const
  })
  t.ok(first !== undefined && others.length > 0, 'there is something to compare')
  for (const [name, report] of others) t.same(report, first?.[1], `${name} as ${first?.[0]}`)
})

t.test('a call that the kernel refuses throws its errno, by number and name', LINUX, async (t) => {
  for (const [runtime, program] of runtimes({ bun: true })) {
    for (const name of presentOn(runtime)) {
      const words = [
        '-i',
        `PATH=${ENV.PATH}`,
        'python3',
        ATTACK,
        'without-prctl',
        program,
        PROGRAM,
        name,
        'refused',
      ]
      const { stdout, stderr, status } = spawnSync('env', words, {
        env: ENV,
        encoding: 'utf8',
        ...NOBODY,
      })
      t.equal(status, 0, stderr)
      t.same(
        JSON.parse(stdout),
        { isError: true, code: 'EPERM', errno: 1, syscall: 'prctl' },
        `${name} on ${runtime}`,
      )
    }
  }
})

t.test('a tracer of any thread is found', LINUX, async (t) => {
  for (const [runtime, program] of runtimes({ bun: true })) {
    for (const name of presentOn(runtime)) {
      const child = spawn('env', ['-i', program, PROGRAM, name, 'tracer'], { stdio: 'pipe', ...NOBODY })
      t.teardown(() => child.kill('SIGKILL'))
      let out = ''
      child.stdout.on('data', (bytes) => (out += bytes))
      await within(once(child.stdout, 'data'), 'the program')
      const tracer = spawn('python3', [ATTACK, 'seize-thread', String(child.pid)], {
        env: ENV,
        stdio: 'pipe',
        ...NOBODY,
      })
      t.teardown(() => tracer.kill('SIGKILL'))
      const [said] = await within(once(tracer.stdout, 'data'), 'the tracer')
      if (String(said).startsWith('EPERM')) {
        t.pass(`${name} on ${runtime}`, { skip: 'tracing is blocked by the kernel already' })
        continue
      }
      t.equal(String(said), 'seized\n')
      child.stdin.write('\n')
      await eventually(() => out.split('\n').length > 2, 'its answer')
      t.equal(out, `${child.pid}\n${tracer.pid}\n`, `${name} on ${runtime}`)
      // The end of a traced thread is for its tracer to see first.
      tracer.kill('SIGKILL')
      await within(once(child, 'exit'), 'its end')
    }
  }
})

function run(program: string, words: readonly string[]): string {
  const child = spawnSync('env', ['-i', program, PROGRAM, ...words], {
    encoding: 'utf8',
    timeout: 20_000,
    ...NOBODY,
  })
  if (child.status !== 0)
    throw new Error(`${program} ${words}: ${child.signal ?? child.status} ${child.stderr}`)
  return child.stdout
}

// A package for this platform is installed with the others; CI installs them all.
function promised(name: ImplementationName): boolean {
  return Boolean(process.env['CI']) || name === '@koromix'
}

function presentOn(runtime: string): ImplementationName[] {
  const names: ImplementationName[] = ['addon', 'koffi', '@koromix', 'bun-ffi']
  return names.filter((name) => reports.has(`${name} on ${runtime}`))
}
