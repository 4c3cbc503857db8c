import { once } from 'node:events'
import { existsSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
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
  startProcess,
} from './program.js'

const NEEDS_PROC = { skip: existsSync('/proc/self/stat') ? false : 'needs /proc' }
const PRINT_ENVIRONMENT = [process.execPath, '-p', 'JSON.stringify(process.env)']

t.test(
  'the command gets the variables that lead to the relay, and the token is nowhere in them',
  async (t) => {
    const env = await enabledEnvironment(t)
    const { status, out, err } = await runToEnd(t, ['run', ...PRINT_ENVIRONMENT], env)
    t.equal(status, 0)
    const seen = JSON.parse(out)
    t.match(seen, { HTTPS_PROXY: /^http:\/\/127\.0\.0\.1:\d+$/, PATH: env['PATH'] })
    t.ok(existsSync(seen.SSL_CERT_FILE), 'the CA bundle is there')
    t.notMatch(out, CANARY)
    t.equal(err, '', 'nothing on stderr where all is well')
  },
)

t.test(
  'the token is in no argv, log line or status document, and its file is gone',
  NEEDS_PROC,
  async (t) => {
    const env = await enabledEnvironment(t)
    const script = 'echo $HTTPS_PROXY; echo ready; read line'
    const program = start(t, ['run', '--log-level', 'debug', '--', 'sh', '-c', script], env)
    const [, relay = ''] = await program.shows(/(http:.*)\nready/)
    t.notMatch(argvOfGroup(program.pid), CANARY)
    t.match(argvOfGroup(program.pid), 'read line', 'the check sees the processes')
    t.notMatch(await (await fetch(`${relay}/__upstreamproxy/status`)).text(), CANARY)
    t.notOk(existsSync(env['UPSTREAMPROXY_TOKEN_FILE'] ?? ''))
    program.process.stdin?.end('\n')
    const { out, err } = await program.ended
    t.notMatch(out + err, CANARY)
    t.match(err, 'listening', 'the log was on')
  },
)

t.test('the exit status is that of the command: 0, 1, 7', async (t) => {
  const env = await enabledEnvironment(t)
  for (const code of [0, 1, 7]) {
    t.equal((await runToEnd(t, ['run', 'sh', '-c', `exit ${code}`], env)).status, code)
  }
})

t.test('a command that a signal ends gives 128 + signal', async (t) => {
  const env = bareEnvironment(t)
  for (const [name, number] of [
    ['TERM', 15],
    ['KILL', 9],
    ['INT', 2],
    ['SEGV', 11],
  ] as const) {
    const { status, signal } = await runToEnd(t, ['run', 'sh', '-c', `kill -${name} $$`], env)
    t.same([status, signal], [128 + number, null], name)
  }
})

t.test('a command that is not found gives 127, one that cannot be executed 126, with a reason', async (t) => {
  const env = await enabledEnvironment(t)
  writeFileSync(join(env.HOME, 'plain'), 'no program')
  writeFileSync(join(env.HOME, 'orphan'), '#!/no/such/interpreter\n', { mode: 0o755 })
  const cases: [command: string, status: number, reason: RegExp][] = [
    ['no-such-command', 127, /command=no-such-command message="it is not in PATH"/],
    [join(env.HOME, 'absent'), 127, /there is no such file/],
    [join(env.HOME, 'orphan'), 127, /the interpreter that it names/],
    ['/etc/passwd/x', 127, /there is no such file/],
    ['', 127, /an empty word/],
    [join(env.HOME, 'plain'), 126, /it is not executable/],
    [env.HOME, 126, /it is a directory/],
  ]
  for (const [command, expected, reason] of cases) {
    const { status, err } = await runToEnd(t, ['run', '--', command], env)
    t.equal(status, expected, reason.source)
    t.match(err, reason)
  }
})

t.test('a command line that is too long for the system gives 126', async (t) => {
  const env = bareEnvironment(t)
  // The word is made inside, so that only the command's own start can fail.
  const script = `import(${JSON.stringify(CLI)})`
  const argv = `process.argv = ['node', 'cli', 'run', '--', 'true', 'x'.repeat(200 * 1024)]`
  const { status, err } = await startProcess(t, process.execPath, ['-e', `${argv}; ${script}`], env).ended
  t.equal(status, 126)
  t.match(err, 'it could not be started: E2BIG')
})

t.test('standard input passes through, and standard output holds nothing of ours', async (t) => {
  const env = await enabledEnvironment(t)
  const input = 'line\n'.repeat(50_000)
  const { out } = await runToEnd(t, ['run', '--log-level', 'debug', '--', 'cat'], env, input)
  t.ok(out === input, `${out.length} bytes came back`)
})

t.test('the words of the command arrive as they were given', async (t) => {
  const words = ['', 'a b', '--help', '--', '$HOME', '"\'\\', 'ü\n']
  const print = [process.execPath, '-p', 'JSON.stringify(process.argv.slice(1))', '--']
  const { out } = await runToEnd(t, ['run', '--', ...print, ...words], bareEnvironment(t))
  t.same(JSON.parse(out), words)
})

t.test(
  'not enabled: the command runs unchanged, and one line names the variable that is missing',
  async (t) => {
    const enabled = await enabledEnvironment(t)
    for (const missing of ['CLAUDE_CODE_REMOTE', 'CCR_UPSTREAM_PROXY_ENABLED']) {
      const env = without(enabled, missing)
      const { status, out, err } = await runToEnd(t, ['run', ...PRINT_ENVIRONMENT], env)
      t.equal(status, 0)
      t.same(JSON.parse(out), env)
      t.match(err, new RegExp(`^upstreamproxy warn: .*missing=${missing} .*\\n$`))
    }
  },
)

t.test('failed: the command runs unchanged, and stderr has the reason', async (t) => {
  const env = { ...(await enabledEnvironment(t)), UPSTREAMPROXY_TOKEN_FILE: '/no/such/token' }
  const { status, out, err } = await runToEnd(t, ['run', ...PRINT_ENVIRONMENT], env)
  t.equal(status, 0)
  t.same(JSON.parse(out), env)
  t.match(err, 'ERR_TOKEN_MISSING')
})

t.test('a variable with a value that cannot be used fails open, an option is a usage error', async (t) => {
  const env = { ...(await enabledEnvironment(t)), UPSTREAMPROXY_PORT: 'http' }
  const { status, out, err } = await runToEnd(t, ['run', 'echo', 'ran'], env)
  t.same([status, out], [0, 'ran\n'])
  t.match(err, 'ERR_OPTION')
  const wrong = await runToEnd(t, ['run', '--port', 'http', 'echo', 'ran'], env)
  t.same([wrong.status, wrong.out], [64, ''])
  t.match(wrong.err, 'usage: upstreamproxy run')
})

t.test('--require: exits 69 with the reason, and does not run the command', async (t) => {
  const env = await enabledEnvironment(t)
  const missing = await runToEnd(t, ['run', '--require', 'echo', 'ran'], without(env, 'CLAUDE_CODE_REMOTE'))
  t.same([missing.status, missing.out], [69, ''])
  t.match(missing.err, 'missing=CLAUDE_CODE_REMOTE')
  const failing = { ...env, UPSTREAMPROXY_TOKEN_FILE: '/no/such/token' }
  const failed = await runToEnd(t, ['run', '--require', 'echo', 'ran'], failing)
  t.same([failed.status, failed.out], [69, ''])
  t.match(failed.err, 'ERR_TOKEN_MISSING')
  t.same((await runToEnd(t, ['run', '--require', 'echo', 'ran'], env)).out, 'ran\n', 'enabled: it runs')
})

t.test(
  'a run inside a run goes through the relay that is alive, silently, and satisfies --require',
  async (t) => {
    const env = await enabledEnvironment(t)
    const print = 'console.log(process.env.HTTPS_PROXY)'
    const inner = [process.execPath, CLI, 'run', '--require', process.execPath, '-e', print]
    const script = 'echo $HTTPS_PROXY; exec "$@"'
    const { out, err } = await runToEnd(t, ['run', '--', 'sh', '-c', script, 'sh', ...inner], env)
    const [outer, nested] = out.split('\n')
    t.match(outer, /^http:/)
    t.equal(nested, outer)
    t.equal(err, '')
  },
)

t.test(
  'a background grandchild with an open tunnel holds the end for the drain, and no longer',
  async (t) => {
    const env = await enabledEnvironment(t)
    const program = start(t, ['run', '--drain', '400', '--', 'sh', '-c', 'echo $HTTPS_PROXY; read line'], env)
    const client = await openTunnel(t, (await program.shows(/http:.*:(\d+)\n/))[1])
    const reset = once(client, 'error')
    const before = performance.now()
    program.process.stdin?.end('\n')
    t.equal((await program.ended).status, 0)
    const tookMs = performance.now() - before
    t.ok(tookMs >= 400 && tookMs < 3000, `${tookMs.toFixed()} ms`)
    matchWhole(t, await reset, [{ code: 'ECONNRESET' }], 'a cut tunnel is an error, never a clean end')
  },
)

t.test('without open tunnels the end costs no drain', async (t) => {
  const env = await enabledEnvironment(t)
  const before = performance.now()
  t.equal((await runToEnd(t, ['run', '--drain', '60000', 'true'], env)).status, 0)
  t.ok(performance.now() - before < 10_000)
})

t.test('a bug of ours while the command runs is a log line, and the command lives on', async (t) => {
  const code = "setTimeout(() => { throw new Error('boom') }, 0); Promise.reject(new Error('bang'))"
  const hook = join(makeFolder(t), 'crash.mjs')
  // Only in our own process, and only once `run` has taken over.
  writeFileSync(
    hook,
    `process.on('newListener', function on(name) {
    if (name !== 'SIGWINCH') return
    process.off('newListener', on)
    setTimeout(() => { ${code} }, 200)
  })`,
  )
  const env = { ...bareEnvironment(t), NODE_OPTIONS: `--import=${hook}` }
  const { status, out, err } = await runToEnd(t, ['run', 'sh', '-c', 'sleep 0.5; echo alive; exit 3'], env)
  t.same([status, out], [3, 'alive\n'])
  t.match(err, /internal-error .*message=boom/)
  t.match(err, /internal-error .*message=bang/)
})

t.test('a closed standard error stops neither us nor the command', async (t) => {
  const env = await enabledEnvironment(t)
  const script = 'exec "$@" 2>&-'
  const words = [process.execPath, CLI, 'run', '--log-level', 'debug', '--', 'echo', 'ran']
  const closed = await startProcess(t, 'sh', ['-c', script, 'sh', ...words], env).ended
  t.same([closed.status, closed.out], [0, 'ran\n'])

  const program = start(t, ['run', '--log-level', 'debug', '--', 'sh', '-c', 'read line; echo ran'], {
    ...env,
    UPSTREAMPROXY_TOKEN_FILE: '/no/such/token',
  })
  program.process.stderr?.destroy()
  program.process.stdin?.end('\n')
  const broken = await program.ended
  t.same([broken.status, broken.out], [0, 'ran\n'])
})

function without(env: Record<string, string>, name: string): Record<string, string> {
  return Object.fromEntries(Object.entries(env).filter(([each]) => each !== name))
}

function argvOfGroup(group: number): string {
  return readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .map((pid) => {
      try {
        const stat = readFileSync(`/proc/${pid}/stat`, 'latin1')
        const [, , pgrp] = stat.slice(stat.lastIndexOf(')') + 2).split(' ')
        return pgrp === String(group) ? readFileSync(`/proc/${pid}/cmdline`, 'utf8') : ''
      } catch {
        // Ended while we looked.
        return ''
      }
    })
    .join('\n')
}
