import { once } from 'node:events'
import { existsSync, readFileSync, statSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import t from 'tap'
import { matchWhole } from '../support/match-whole.js'
import {
  bareEnvironment,
  CANARY,
  CLI,
  enabledEnvironment,
  makeFolder,
  openTunnel,
  runToEnd,
  start,
  startGateway,
  startProcess,
} from './program.js'

t.test('when it is ready it prints one line of JSON, and writes the variables for clients', async (t) => {
  const env = await enabledEnvironment(t)
  const file = join(makeFolder(t), 'proxy.env')
  const program = start(t, ['serve', '--write-env', file], env)
  const ready = JSON.parse((await program.shows(/.*\n/))[0])
  t.match(ready, { enabled: true, port: Number, caBundlePath: String, pid: program.pid })
  const lines = readFileSync(file, 'utf8').trimEnd().split('\n')
  t.ok(lines.includes(`HTTPS_PROXY=http://127.0.0.1:${ready.port}`))
  t.ok(lines.includes(`SSL_CERT_FILE=${ready.caBundlePath}`))
  t.notOk(
    lines.some((line) => /^(PATH|HOME|CCR_|CLAUDE_)/.test(line)),
    'only the variables that it sets',
  )
  t.notMatch(lines.join('\n'), CANARY)
  t.equal(statSync(file).mode & 0o777, 0o644)
  t.ok(existsSync(ready.caBundlePath))
  program.process.kill('SIGTERM')
  t.match(await program.ended, { status: 0, err: '' })
})

t.test('variables that the environment holds already are in the file too', async (t) => {
  const env = { ...(await enabledEnvironment(t)), NODE_USE_ENV_PROXY: '1', SSL_CERT_FILE: '' }
  const file = join(makeFolder(t), 'proxy.env')
  const program = start(t, ['serve', '--write-env', file], env)
  await program.shows(/"enabled":true/)
  t.match(readFileSync(file, 'utf8'), /^NODE_USE_ENV_PROXY=1$/m)
})

t.test(
  'a leftover of the file is gone until the relay is ready, and at the end the file is empty',
  async (t) => {
    const gateway = await startGateway(t, { holds: true })
    const env = await enabledEnvironment(t, Promise.resolve(gateway))
    const file = join(makeFolder(t), 'proxy.env')
    writeFileSync(file, 'HTTPS_PROXY=http://127.0.0.1:1\n')
    const program = start(t, ['serve', '--write-env', file], env)
    await gateway.asked
    t.notOk(existsSync(file))
    gateway.release()
    await program.shows(/"enabled":true/)
    t.match(readFileSync(file, 'utf8'), 'HTTPS_PROXY=')
    program.process.kill('SIGTERM')
    t.equal((await program.ended).status, 0)
    t.equal(readFileSync(file, 'utf8'), '', 'nobody is led to a relay that has ended')
  },
)

t.test('SIGTERM, SIGINT, SIGHUP and SIGQUIT end it with 0', async (t) => {
  for (const name of ['SIGTERM', 'SIGINT', 'SIGHUP', 'SIGQUIT'] as const) {
    const program = start(t, ['serve'], await enabledEnvironment(t))
    await program.shows(/"enabled":true/)
    program.process.kill(name)
    t.match(await program.ended, { status: 0, signal: null }, name)
  }
})

t.test('SIGTERM before it is ready ends it with 0', async (t) => {
  const gateway = await startGateway(t, { holds: true })
  const program = start(t, ['serve'], await enabledEnvironment(t, Promise.resolve(gateway)))
  await gateway.asked
  program.process.kill('SIGTERM')
  t.match(await program.ended, { status: 0, out: '' })
})

t.test('SIGUSR1, SIGUSR2 and SIGCONT mean nothing to it, and open no inspector', async (t) => {
  const program = start(t, ['serve'], await enabledEnvironment(t))
  const { port } = JSON.parse((await program.shows(/.*\n/))[0])
  for (const name of ['SIGUSR1', 'SIGUSR2', 'SIGCONT'] as const) program.process.kill(name)
  t.equal((await fetch(`http://127.0.0.1:${port}/__upstreamproxy/status`)).status, 200)
  program.process.kill('SIGTERM')
  t.match(await program.ended, { status: 0, err: '' })
})

t.test('after SIGTERM an open tunnel gets the time of --drain, and no more', async (t) => {
  const program = start(t, ['serve', '--drain', '400'], await enabledEnvironment(t))
  const { port } = JSON.parse((await program.shows(/.*\n/))[0])
  await openTunnel(t, port)
  const before = performance.now()
  program.process.kill('SIGTERM')
  t.equal((await program.ended).status, 0)
  const tookMs = performance.now() - before
  t.ok(tookMs >= 400 && tookMs < 5000, `${tookMs.toFixed()} ms`)
})

t.test('a second signal cuts the drain short', async (t) => {
  const program = start(t, ['serve', '--drain', '60000'], await enabledEnvironment(t))
  const { port } = JSON.parse((await program.shows(/.*\n/))[0])
  const client = await openTunnel(t, port)
  // Broken off, not ended well (invariant 5).
  const broken = once(client, 'error')
  const before = performance.now()
  program.process.kill('SIGTERM')
  program.process.kill('SIGINT')
  t.match(await program.ended, { status: 0, signal: null })
  t.ok(performance.now() - before < 10_000)
  matchWhole(t, await broken, [{ code: 'ECONNRESET' }])
})

t.test('not enabled: a warning, a line that says so, an empty file, and it stays up', async (t) => {
  const file = join(makeFolder(t), 'proxy.env')
  const program = start(t, ['serve', '--write-env', file], bareEnvironment(t))
  t.same(JSON.parse((await program.shows(/.*\n/))[0]), { enabled: false, reason: 'not-enabled' })
  t.equal(readFileSync(file, 'utf8'), '')
  program.process.kill('SIGUSR1')
  program.process.kill('SIGTERM')
  const { status, err } = await program.ended
  t.equal(status, 0)
  t.match(err, /missing="CLAUDE_CODE_REMOTE CCR_UPSTREAM_PROXY_ENABLED"/)
})

t.test('failed: the same, with the reason', async (t) => {
  const env = { ...(await enabledEnvironment(t)), UPSTREAMPROXY_TOKEN_FILE: '/no/such/token' }
  const program = start(t, ['serve'], env)
  t.same(JSON.parse((await program.shows(/.*\n/))[0]), { enabled: false, reason: 'ERR_TOKEN_MISSING' })
  program.process.kill('SIGTERM')
  const { status, err } = await program.ended
  t.equal(status, 0)
  t.match(err, 'ERR_TOKEN_MISSING')
})

t.test('--require: exits 69 with the reason where it cannot serve', async (t) => {
  const { status, out, err } = await runToEnd(t, ['serve', '--require'], bareEnvironment(t))
  t.equal(status, 69)
  t.same(JSON.parse(out), { enabled: false, reason: 'not-enabled' })
  t.match(err, 'missing=')
})

t.test(
  'a value that the file cannot hold: an error line, an empty file, and it serves all the same',
  async (t) => {
    const file = join(makeFolder(t), 'proxy.env')
    const words = ['--write-env', file, '--env-override', 'PIP_CERT=/a b']
    const program = start(t, ['serve', ...words], await enabledEnvironment(t))
    await program.shows(/"enabled":true/)
    t.equal(readFileSync(file, 'utf8'), '', 'whoever waits for it goes on')
    program.process.kill('SIGTERM')
    const { status, err } = await program.ended
    t.equal(status, 0)
    t.match(err, /ERR_ENV_FILE.*PIP_CERT/)
    const required = await runToEnd(t, ['serve', '--require', ...words], await enabledEnvironment(t))
    t.same([required.status, required.out], [73, ''])
  },
)

t.test('--require and no proxy: no file, so that whoever waits for it does not go on without', async (t) => {
  const file = join(makeFolder(t), 'proxy.env')
  const { status } = await runToEnd(t, ['serve', '--require', '--write-env', file], bareEnvironment(t))
  t.equal(status, 69)
  t.notOk(existsSync(file))
})

t.test(
  'its log does not make a standard error that others share non-blocking',
  { skip: !existsSync('/proc/self/fdinfo') && 'needs /proc' },
  async (t) => {
    const script = '"$@" & read line; grep flags /proc/self/fdinfo/2; kill $!; wait'
    const words = [process.execPath, CLI, 'serve', '--log-level', 'debug']
    const shell = startProcess(t, 'sh', ['-c', script, 'sh', ...words], await enabledEnvironment(t))
    await shell.shows(/"enabled":true/)
    shell.process.stdin?.end('\n')
    const [, flags = ''] = await shell.shows(/flags:\s*(\d+)/)
    t.equal(Number.parseInt(flags, 8) & 0o4000, 0, 'no O_NONBLOCK')
    t.match((await shell.ended).err, 'listening', 'it did log')
  },
)

t.test('a file that cannot be written is an error line, and it serves all the same', async (t) => {
  const env = await enabledEnvironment(t)
  const program = start(t, ['serve', '--write-env', '/no/such/folder/proxy.env'], env)
  await program.shows(/"enabled":true/)
  program.process.kill('SIGTERM')
  const { status, err } = await program.ended
  t.equal(status, 0)
  t.match(err, /env-file-failed code=ERR_ENV_FILE/)
})

t.test('a file that cannot be written with --require: exits 73, not ready', async (t) => {
  for (const file of ['/no/such/folder/proxy.env', tmpdir()]) {
    const words = ['serve', '--require', '--write-env', file]
    const { status, out, err } = await runToEnd(t, words, await enabledEnvironment(t))
    t.same([status, out], [73, ''])
    t.match(err, 'ERR_ENV_FILE')
  }
})
