import { once } from 'node:events'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import t, { type Test } from 'tap'
import { readableBytes, readableDuration, readableStatus } from '#src/cli/status-text.js'
import { matchWhole } from '../support/match-whole.js'
import { bareEnvironment, CLI, type Environment, enabledEnvironment, runToEnd, start } from './program.js'
import { NO_TERMINAL, onTerminal } from './terminal.js'

t.test('status asks the relay of --url, with or without its scheme, or else of HTTPS_PROXY', async (t) => {
  const program = start(t, ['serve'], await enabledEnvironment(t))
  const { port } = JSON.parse((await program.shows(/.*\n/))[0])
  const url = `http://127.0.0.1:${port}`
  const ways: [words: string[], env: Environment][] = [
    [['--url', url], {}],
    [['--url', `127.0.0.1:${port}`], {}],
    [['--url', `${url}/`], { HTTPS_PROXY: 'http://127.0.0.1:1' }],
    [[], { HTTPS_PROXY: url }],
    [[], { https_proxy: `http://localhost:${port}` }],
  ]
  for (const [words, env] of ways) {
    const { status, out, err } = await runToEnd(t, ['status', ...words], { ...bareEnvironment(t), ...env })
    t.same([status, err], [0, ''])
    matchWhole(t, JSON.parse(out), {
      name: 'upstreamproxy',
      port,
      tunnels: { open: 0, total: 0 },
      failures: [],
    })
  }
})

t.test('status inside run finds the relay', async (t) => {
  const { status, out } = await runToEnd(
    t,
    ['run', process.execPath, CLI, 'status'],
    await enabledEnvironment(t),
  )
  t.equal(status, 0)
  t.match(JSON.parse(out), { name: 'upstreamproxy' })
})

t.test('where no relay is known or none answers, status exits 69 and says why', async (t) => {
  const something = await startSomething(t, 'hello')
  const cases: [words: string[], env: Environment, reason: RegExp][] = [
    [[], {}, /HTTPS_PROXY is not set.*--url/s],
    [[], { HTTPS_PROXY: 'http://proxy.corp.test:3128' }, /does not lead to loopback/],
    [[], { HTTPS_PROXY: 'not a url' }, /does not lead to loopback/],
    [['--url', '127.0.0.1:1'], {}, /no relay answers at http:\/\/127\.0\.0\.1:1: the connection is refused/],
    [['--url', something], {}, /something else listens there/],
  ]
  for (const [words, env, reason] of cases) {
    const { status, out, err } = await runToEnd(t, ['status', ...words], { ...bareEnvironment(t), ...env })
    t.same([status, out], [69, ''])
    t.match(err, reason)
  }
})

t.test('a --url that is none is a usage error', async (t) => {
  const { status, err } = await runToEnd(t, ['status', '--url', 'https://x.test'], bareEnvironment(t))
  t.equal(status, 64)
  t.match(err, /--url expects http:\/\/127\.0\.0\.1:PORT, and got "https:\/\/x\.test"/)
})

t.test('an answer cannot steer the terminal', async (t) => {
  const url = await startSomething(t, JSON.stringify({ ...DOCUMENT, engine: '\u001b]0;owned\u0007\u009b' }))
  const { out } = await runToEnd(t, ['status', '--url', url], bareEnvironment(t))
  t.equal(JSON.parse(out).engine, ']0;owned')
})

t.test('for people, the document is some lines; colour only dims them', async (t) => {
  const text = readableStatus(DOCUMENT, false)
  t.match(text, /^upstreamproxy 0\.1\.0 on 127\.0\.0\.1:41234 \(engine: node\)\n/)
  const threaded = readableStatus({ ...DOCUMENT, thread: 'own' }, false)
  t.match(threaded, /\(engine: node, in a thread of its own\)\n/)
  t.match(text, /tunnels +3 open, 120 in all\n/)
  t.match(text, /bytes +1\.2 MiB up, 999 B down\n/)
  t.match(text, /native +koffi: non-dumpable, sigusr1; typescript: tracer, framing, socket-writes\n/)
  t.match(
    text,
    /failures +2026-11-24T07:11:03\.000Z ERR_GATEWAY_TLS the TLS connection to the gateway failed\n/,
  )
  t.match(text, /\n +2026-11-24T07:12:03\.000Z ERR_OF_TOMORROW/)
  t.match(readableStatus({ ...DOCUMENT, failures: [] }, false), /failures +none\n$/)
  // biome-ignore lint/suspicious/noControlCharactersInRegex: they are what is looked for
  t.equal(readableStatus(DOCUMENT, true).replace(/\u001b\[\d+m/g, ''), text)
})

t.test(
  'on a terminal it is for people, and NO_COLOR or a dumb terminal has no colour',
  { skip: NO_TERMINAL },
  async (t) => {
    const url = await startSomething(t, JSON.stringify(DOCUMENT))
    const show = async (env: Environment, ...words: string[]) => {
      const argv = [process.execPath, CLI, 'status', '--url', url, ...words]
      return (await onTerminal(t, [], argv, { ...bareEnvironment(t), ...env })).shown
    }
    t.match(await show({ TERM: 'xterm' }), '\u001b[2mtunnels')
    t.match(await show({ TERM: 'xterm', NO_COLOR: '1' }), '  tunnels   3 open')
    t.match(await show({ TERM: 'dumb' }), '  tunnels   3 open')
    t.match(JSON.parse(await show({ TERM: 'xterm' }, '--json')), { name: 'upstreamproxy' })
  },
)

t.test('numbers are in units that people read', async (t) => {
  t.same([0, 1023, 1024, 1024 ** 2 * 1.5, 1024 ** 5].map(readableBytes), [
    '0 B',
    '1023 B',
    '1.0 KiB',
    '1.5 MiB',
    '1024.0 TiB',
  ])
  t.same([-5, 3_999, 125_000, 3_600_000, 100_800_000].map(readableDuration), [
    '0 s',
    '3 s',
    '2 min 5 s',
    '1 h 0 min',
    '1 d 4 h',
  ])
})

t.test('--version is the version; with --json, what this machine offers, and why', async (t) => {
  const env = bareEnvironment(t)
  const plain = await runToEnd(t, ['--version'], env)
  t.match(plain, { status: 0, err: '', out: /^\d+\.\d+\.\d+\n$/ })
  const { status, out } = await runToEnd(t, ['--version', '--json'], env)
  const document = JSON.parse(out)
  t.equal(status, 0)
  t.match(document, {
    version: plain.out.trim(),
    runtime: { name: /^(node|bun)$/, version: /^\d+\./ },
    platform: `${process.platform}-${process.arch}`,
  })
  t.not(Object.keys(document.capabilities).length, 0)
  for (const [name, { implementation, why }] of Object.entries<Record<string, string>>(
    document.capabilities,
  )) {
    t.ok(implementation && why, name)
  }
})

t.test('--help is on standard output with 0, a usage error on standard error with 64', async (t) => {
  const env = bareEnvironment(t)
  for (const words of [['--help'], ['run', '--help'], ['serve', '--help'], ['status', '--help']]) {
    t.match(await runToEnd(t, words, env), { status: 0, err: '', out: /Examples:/ }, words.join(' '))
  }
  t.match(await runToEnd(t, ['run', '--requier', 'x'], env), {
    status: 64,
    out: '',
    err: /no option --requier.*did you mean --require\?.*usage: upstreamproxy run/s,
  })
  t.match(await runToEnd(t, [], env), { status: 64, out: '', err: /a command is missing/ })
})

t.test('a reader that has gone away is no error', async (t) => {
  const program = start(t, ['run', '--help'], bareEnvironment(t))
  program.process.stdout?.destroy()
  t.match(await program.ended, { status: 0, err: '' })
})

const DOCUMENT = {
  name: 'upstreamproxy',
  version: '0.1.0',
  engine: 'node',
  thread: 'host',
  capabilities: {
    'non-dumpable': { implementation: 'koffi', why: 'it is installed' },
    sigusr1: { implementation: 'koffi', why: 'it is installed' },
    tracer: { implementation: 'typescript', why: 'of /proc' },
    framing: { implementation: 'typescript', why: 'the portable engine' },
    'socket-writes': { implementation: 'typescript', why: 'the portable engine' },
  },
  since: '2026-11-24T07:11:00.000Z',
  port: 41234,
  tunnels: { open: 3, total: 120 },
  bytes: { up: 1_258_291, down: 999 },
  failures: [
    { at: '2026-11-24T07:11:03.000Z', code: 'ERR_GATEWAY_TLS' },
    { at: '2026-11-24T07:12:03.000Z', code: 'ERR_OF_TOMORROW' as 'ERR_INTERNAL' },
  ],
} as const

async function startSomething(t: Test, body: string): Promise<string> {
  const server = createServer((_, response) => response.end(body)).listen(0, '127.0.0.1')
  t.teardown(() => server.close())
  await once(server, 'listening')
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`
}
