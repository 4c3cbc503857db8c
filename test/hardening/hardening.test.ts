import { spawnSync } from 'node:child_process'
import { existsSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import t, { type Test } from 'tap'
import { sigusr1Of } from '../support/disposition.js'
import { matchWhole } from '../support/match-whole.js'
import { type Host, type HostSettings, NOBODY, runtimes, startHost } from './host.js'

const LINUX = process.platform === 'linux' ? {} : { skip: 'of Linux' }
const ATTACK = fileURLToPath(new URL('../../test/hardening/attack.py', import.meta.url))
// A child of the host's that traces one thread of it.
const TRACED = `new Promise((resolve) => {
  const words = [${JSON.stringify(ATTACK)}, 'seize-thread', String(process.pid)]
  globalThis.tracer = load('child_process').spawn('python3', words, { stdio: ['pipe', 'pipe', 'inherit'] })
  tracer.stdout.once('data', (bytes) => {
    globalThis.said = String(bytes)
    resolve()
  })
})`
const NO_PROC = ['unshare', '--mount', 'sh', '-c', 'mount -t tmpfs none /proc && exec "$@"', 'sh']
const WITHOUT_PROC = {
  skip:
    spawnSync('unshare', ['--mount', 'mount', '-t', 'tmpfs', 'none', '/proc']).status !== 0 &&
    'needs root, and a container that may mount',
}
const WITHOUT_PRCTL = ['python3', ATTACK, 'without-prctl']

for (const [name, program] of runtimes({ bun: true })) {
  const bun = name === 'bun'
  t.test(`on ${name}`, LINUX, async (t) => {
    const start = (t: Test, settings: HostSettings = {}) => startHost(t, { program, ...settings })

    t.test('strict finds all that it needs', async (t) => {
      const host = await start(t, { given: { hardening: 'strict' } })
      matchWhole(t, host.report, { enabled: true, lines: [] })
      t.equal(await owner(host), 0)
    })

    t.test('an open inspector: the token is not read, and nothing else is changed', async (t) => {
      for (const hardening of ['default', 'strict'] as const) {
        const host = await start(t, { flags: ['--inspect=127.0.0.1:0'], given: { hardening } })
        matchWhole(t, host.report, {
          reason: 'ERR_HARDENING_INSPECTOR',
          lines: [/disabled code=ERR_HARDENING_INSPECTOR .*hint=.*--hardening off/],
        })
        t.notMatch(host.report.lines, /ws:/, 'the address is a secret')
        t.ok(existsSync(host.tokenFile))
        t.equal(await owner(host), NOBODY ?? process.getuid?.(), 'still dumpable')
        t.equal(sigusr1Of(host.pid), bun ? 'default' : 'caught')
      }
      const unlinked = await start(t, { flags: ['--inspect=127.0.0.1:0'], given: { unlinkOnFailure: true } })
      t.match(unlinked.report, { reason: 'ERR_HARDENING_INSPECTOR' })
      t.notOk(existsSync(unlinked.tokenFile))
    })

    t.test('the inspector that a variable opened is as open', async (t) => {
      const variable = bun ? { BUN_INSPECT: 'ws://127.0.0.1:0/x' } : { NODE_OPTIONS: '--inspect=127.0.0.1:0' }
      const host = await start(t, { env: variable })
      t.match(host.report, { reason: 'ERR_HARDENING_INSPECTOR' })
    })

    t.test('off does nothing and asks nothing', async (t) => {
      const host = await start(t, {
        flags: ['--inspect=127.0.0.1:0'],
        env: { UPSTREAMPROXY_HARDENING: 'off' },
      })
      matchWhole(t, host.report, { enabled: true, lines: [] })
      t.equal(await owner(host), NOBODY ?? process.getuid?.(), 'still dumpable')
      t.equal(sigusr1Of(host.pid), bun ? 'default' : 'caught')
    })

    t.test('one that the host opened by itself, too', async (t) => {
      const host = await start(t, { before: `load('inspector').open(0, '127.0.0.1'), 0` })
      t.match(host.report, { reason: 'ERR_HARDENING_INSPECTOR' })
    })

    // On Bun, what a script puts into fs does not reach an import.
    const skip = bun && 'Bun has no way to be there at that moment'
    t.test('one that opens while the token is read: the token is dropped', { skip }, async (t) => {
      const before = `
        const { open } = fs.promises
        fs.promises.open = (path, ...rest) => {
          if (path.endsWith('/token')) load('inspector').open(0, '127.0.0.1')
          return open(path, ...rest)
        }`
      const host = await start(t, { before })
      t.match(host.report, { reason: 'ERR_HARDENING_INSPECTOR' })
      t.ok(existsSync(host.tokenFile))
    })

    t.test('one that opens while the CA is fetched: the token is dropped', { skip }, async (t) => {
      const before = `
        const { get } = load('http')
        load('http').get = (...words) => {
          load('inspector').open(0, '127.0.0.1')
          return get(...words)
        }`
      const host = await start(t, { before })
      t.match(host.report, { reason: 'ERR_HARDENING_INSPECTOR' })
      t.ok(existsSync(host.tokenFile))
    })

    t.test('a tracer that comes while the token is read: it is dropped', { skip }, async (t) => {
      const before = `
        const { open } = fs.promises
        fs.promises.open = async (path, ...rest) => {
          if (path.endsWith('/token')) await ${TRACED}
          return open(path, ...rest)
        }`
      // Where the kernel lets the process become non-dumpable, nobody comes.
      const host = await start(t, { before, through: WITHOUT_PRCTL })
      if ((await host.ask('said')) === 'EPERM\n')
        return t.pass('a tracer', { skip: 'tracing is blocked by the kernel already' })
      t.match(host.report, { reason: 'ERR_HARDENING_TRACED' })
      t.ok(existsSync(host.tokenFile))
      return undefined
    })

    t.test('a tracer, be it of one thread: the token is not read', async (t) => {
      const host = await start(t, { before: TRACED })
      if ((await host.ask('said')) === 'EPERM\n')
        return t.pass('a tracer', { skip: 'tracing is blocked by the kernel already' })
      matchWhole(t, host.report, {
        reason: 'ERR_HARDENING_TRACED',
        lines: [/disabled code=ERR_HARDENING_TRACED .*hint=.*--hardening off/],
      })
      t.ok(existsSync(host.tokenFile))
      t.equal(await owner(host), NOBODY ?? process.getuid?.(), 'still dumpable')
      await host.ask(`new Promise((resolve) => tracer.on('exit', () => resolve(0)).stdin.end())`)
      t.match(await host.ask('init()'), { enabled: true }, 'and once it has let go, it is')
      return undefined
    })

    t.test('a kernel that refuses: default warns and goes on, strict refuses', async (t) => {
      const host = await start(t, { through: WITHOUT_PRCTL })
      matchWhole(t, host.report, {
        enabled: true,
        lines: [/not-hardened missing=non-dumpable .*reason="prctl: EPERM"/],
      })
      t.equal(host.report.lines.length, 1)
      matchWhole(
        t,
        await host.ask('init({ tokenFile: process.argv[1] })'),
        { lines: [/ERR_TOKEN_/] },
        'said once',
      )
      const strict = await start(t, { through: WITHOUT_PRCTL, given: { hardening: 'strict' } })
      matchWhole(t, strict.report, {
        reason: 'ERR_HARDENING_INCOMPLETE',
        lines: [/non-dumpable \(prctl: EPERM\)/],
      })
      t.ok(existsSync(strict.tokenFile))
    })

    // Bun itself does not start without it.
    if (bun) return
    t.test('without /proc: default warns and goes on, strict refuses', WITHOUT_PROC, async (t) => {
      const settings = { uid: 0, through: NO_PROC }
      const host = await start(t, settings)
      matchWhole(t, host.report, {
        enabled: true,
        lines: [/not-hardened missing="?(?:non-dumpable )?tracer/],
      })
      const strict = await start(t, { ...settings, given: { hardening: 'strict' } })
      matchWhole(t, strict.report, { reason: 'ERR_HARDENING_INCOMPLETE', lines: [/tracer.*ENOENT/] })
      t.ok(existsSync(strict.tokenFile))
    })
  })
}

// proc(5): what belongs to root is of a process that is not dumpable.
async function owner(host: Host): Promise<unknown> {
  return host.ask(`fs.statSync('/proc/self/environ').uid`)
}
