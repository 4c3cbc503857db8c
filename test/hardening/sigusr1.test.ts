import { spawnSync } from 'node:child_process'
import t, { type Test } from 'tap'
import { eventually, within } from '../support/deadline.js'
import { sigusr1Of } from '../support/disposition.js'
import { matchWhole } from '../support/match-whole.js'
import { runtimeProgram } from '../support/runtimes.js'
import { type Host, runtimes, startHost } from './host.js'

const LINUX = process.platform === 'linux' ? {} : { skip: 'the kernel tells of dispositions on Linux' }

for (const [name, program] of runtimes()) {
  t.test(`SIGUSR1 on ${name}`, LINUX, async (t) => {
    const start = (t: Test, settings: Parameters<typeof startHost>[1] = {}) =>
      startHost(t, { program, flags: ['--inspect-port=0'], ...settings })

    t.test('without hardening it opens the inspector: the experiment can fail', async (t) => {
      const host = await start(t, { given: { hardening: 'off' } })
      t.equal(sigusr1Of(host.pid), 'caught')
      host.process.kill('SIGUSR1')
      await eventually(() => /Debugger listening/.test(host.errors()), 'the inspector')
    })

    t.test('is ignored by the kernel once init has run, and again by a second init', async (t) => {
      const host = await start(t)
      matchWhole(t, host.report, { enabled: true, lines: [] })
      t.equal(sigusr1Of(host.pid), 'ignored')
      await shuts(t, host)
      t.match(await host.ask('init()'), { reason: 'ERR_TOKEN_MISSING' })
      t.equal(sigusr1Of(host.pid), 'ignored')
      t.equal(await host.ask(`process.listenerCount('SIGUSR1')`), 1, 'and listened to, once')
    })

    t.test("reaches a host's listener that was there before, or comes later", async (t) => {
      const before = await start(t, { before: COUNT })
      t.equal(sigusr1Of(before.pid), 'caught')
      await counts(before, 1)
      await shuts(t, before)

      const later = await start(t)
      await later.ask(COUNT)
      t.equal(sigusr1Of(later.pid), 'caught')
      await counts(later, 1)
      await later.ask(`process.off('SIGUSR1', count), process.once('SIGUSR1', count), 0`)
      await counts(later, 2)
      t.equal(sigusr1Of(later.pid), 'ignored', 'and when it has gone, the kernel ignores the signal again')
      await later.ask(COUNT)
      await counts(later, 3)
      await shuts(t, later)
    })

    t.test('stays shut whatever listeners the host removes', async (t) => {
      for (const before of ['0', COUNT]) {
        const host = await start(t, { before })
        for (const remove of REMOVALS) {
          await host.ask(remove)
          t.equal(sigusr1Of(host.pid), 'ignored', remove)
          await shuts(t, host)
          await host.ask(COUNT)
        }
      }
      const stripped = await start(t)
      await stripped.ask(`process.removeAllListeners(), 0`)
      t.equal(sigusr1Of(stripped.pid), 'ignored', 'of every event')
      await shuts(t, stripped)
    })

    t.test('stays shut by a listener alone where nothing native serves', async (t) => {
      const host = await start(t, {
        before: `Object.defineProperty(process, 'platform', { value: 'sunos' }), 0`,
      })
      matchWhole(t, host.report.lines, [/not-hardened missing="non-dumpable tracer"/])
      t.equal(sigusr1Of(host.pid), 'caught')
      await shuts(t, host)
      for (const remove of REMOVALS) {
        await host.ask(remove)
        t.equal(sigusr1Of(host.pid), 'caught', remove)
        await shuts(t, host)
      }
      await host.ask(COUNT)
      await counts(host, 1)
    })

    t.test('is at its default in children: what is ignored is not inherited', async (t) => {
      const host = await start(t)
      t.equal(sigusr1Of(host.pid), 'ignored')
      const child = `load('child_process').spawnSync('grep', ['SigIgn', '/proc/self/status'], { encoding: 'utf8' }).stdout`
      const ignored = BigInt(
        `0x${String(await host.ask(child))
          .replace(/\D+/, '')
          .trim()}`,
      )
      t.equal(ignored & (1n << 9n), 0n)
    })

    t.test('init in a worker thread: the kernel ignores it; strict needs the main thread', async (t) => {
      const host = await start(t, { given: { sessionId: 'a:b' } })
      t.equal(sigusr1Of(host.pid), 'caught', 'nothing is done where init does not come so far')
      const inWorker = (hardening: string) =>
        `
        new Promise((resolve) => new (load('worker_threads').Worker)(file, {
          argv: [JSON.stringify({
            given: { ...JSON.parse(process.argv[2]).given, sessionId: 's', hardening: '${hardening}' },
            before: 'fs.writeSync = (_, text) => load("worker_threads").parentPort.postMessage(JSON.parse(text))',
          })],
        }).on('message', resolve))`
      const strict = await host.ask(inWorker('strict'))
      matchWhole(t, strict, { reason: 'ERR_HARDENING_INCOMPLETE', lines: [/inspector .*in the main thread/] })
      matchWhole(t, await host.ask(inWorker('default')), {
        enabled: true,
        lines: [/not-hardened missing=inspector/],
      })
      t.equal(sigusr1Of(host.pid), 'ignored')
      await shuts(t, host)
    })
  })
}

const bun = runtimeProgram('bun')
// In CI it is promised.
const NO_BUN = 'absent' in bun && !process.env['CI'] && bun.absent
t.test('Bun opens no inspector at SIGUSR1: the signal is left as it is', { skip: NO_BUN }, async (t) => {
  if ('absent' in bun) throw new Error(bun.absent)
  for (const hardening of ['off', 'strict'] as const) {
    const host = await startHost(t, { program: bun.program, given: { hardening } })
    t.equal(sigusr1Of(host.pid), 'default', hardening)
    t.match(await host.ask('init()'), { reason: 'ERR_TOKEN_MISSING' })
    await host.ask(COUNT)
    await counts(host, 1)
    const other = await startHost(t, { program: bun.program, given: { hardening } })
    other.process.kill('SIGUSR1')
    t.equal(await within(other.ended, 'its end'), 'SIGUSR1', 'which ends the process')
  }
})

t.test('--disable-sigusr1 goes together with it', LINUX, async (t) => {
  for (const [name, program] of runtimes().slice(1)) {
    const host = await startHost(t, { program, flags: ['--disable-sigusr1'] })
    t.equal(sigusr1Of(host.pid), 'ignored', name)
    await shuts(t, host)
  }
})

// The signal does nothing, and the program lives.
async function shuts(t: Test, host: Host): Promise<void> {
  const { status } = spawnSync('kill', ['-USR1', String(host.pid)])
  t.equal(status, 0)
  // The answer comes after every signal that was caught before it, and after the inspector's own start.
  t.equal(await host.ask(`new Promise((resolve) => setTimeout(resolve, 20, 'alive'))`), 'alive')
  t.equal(await host.ask(`load('inspector').url() ?? 'shut'`), 'shut')
}

async function counts(host: Host, expected: number): Promise<void> {
  host.process.kill('SIGUSR1')
  await eventually(async () => (await host.ask('got')) === expected, `${expected} signals`)
}

const COUNT = `globalThis.got ??= 0; globalThis.count ??= () => { got += 1 }; process.on('SIGUSR1', count); 0`
const REMOVALS = [
  `process.removeAllListeners('SIGUSR1'), 0`,
  `process.listeners('SIGUSR1').forEach((each) => process.off('SIGUSR1', each)), 0`,
  `while (process.listenerCount('SIGUSR1') > 0) process.removeAllListeners('SIGUSR1'); 0`,
]
