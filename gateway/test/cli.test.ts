// biome-ignore-all lint/suspicious/noTemplateCurlyInString: that is how the configuration writes it
import { type ChildProcess, spawn } from 'node:child_process'
import { X509Certificate } from 'node:crypto'
import { once } from 'node:events'
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:net'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import t, { type Test } from 'tap'
import { VERSION } from '#src/index.js'
import { exchange, readAll, secure, send, tunnelOf } from './support/client.js'
import { configText, ENV, eventually, type TestGatewayOptions, temporaryFolder } from './support/gateway.js'
import { testOrigin } from './support/origin.js'
import { makePki } from './support/pki.js'

const CLI = fileURLToPath(new URL('../dist/cli.js', import.meta.url))

interface Running {
  readonly child: ChildProcess
  stdout(): string
  stderr(): string
  /** exit status, or the signal's name */
  readonly exited: Promise<number | string>
}

function start(t: Test, args: readonly string[], cwd?: string): Running {
  const child = spawn(process.execPath, [CLI, ...args], { cwd, env: { ...ENV, PATH: process.env['PATH'] } })
  t.teardown(() => child.kill('SIGKILL'))
  let [out, err] = ['', '']
  child.stdout.on('data', (bytes) => (out += bytes))
  child.stderr.on('data', (bytes) => (err += bytes))
  const exited = once(child, 'close').then(([status, signal]) => status ?? signal)
  return { child, stdout: () => out, stderr: () => err, exited }
}

async function run(t: Test, args: readonly string[], cwd?: string) {
  const running = start(t, args, cwd)
  const status = await running.exited
  return { status, stdout: running.stdout(), stderr: running.stderr() }
}

function folderWith(t: Test, options: TestGatewayOptions = {}): string {
  const folder = temporaryFolder(t)
  mkdirSync(join(folder, 'state'), { mode: 0o700 })
  if (options.originCa !== undefined) writeFileSync(join(folder, 'origin-ca.pem'), options.originCa)
  writeFileSync(join(folder, 'gateway.yaml'), configText(options))
  return folder
}

t.test('help teaches, and the version is the one of the package', async (t) => {
  const help = await run(t, ['--help'])
  t.equal(help.status, 0)
  for (const word of [
    'serve --config FILE',
    'check --config FILE',
    'demo',
    '--log-format',
    '${secret:api-key}',
    'Exit status',
  ]) {
    t.ok(help.stdout.includes(word), word)
  }
  t.equal(help.stderr, '')
  t.ok(help.stdout.split('\n').every((line) => line.length <= 100))
  t.equal((await run(t, ['serve', '-h'])).stdout, help.stdout)
  t.equal((await run(t, ['--version'])).stdout, `${VERSION}\n`)
})

t.test('a wrong command line says what was meant, with status 64', async (t) => {
  const cases: [args: string[], message: RegExp][] = [
    [[], /which command\? serve, check or demo/],
    [['serv'], /unknown command "serv": did you mean serve\?/],
    [['frobnicate'], /unknown command "frobnicate": known: serve, check, demo/],
    [['serve', '--confg', 'x'], /unknown option "--confg": did you mean --config\?/],
    [['serve'], /serve needs --config FILE/],
    [['serve', '--config'], /--config takes a value/],
    [['check', '--config=x', 'more'], /check takes no "more"/],
    [['serve', '--config=x', '--log-format=xml'], /--log-format is text or json/],
    [['--help=yes'], /--help takes no value/],
  ]
  for (const [args, message] of cases) {
    const { status, stdout, stderr } = await run(t, args)
    t.equal(status, 64, args.join(' '))
    t.match(stderr, message)
    t.match(stderr, /see --help/)
    t.equal(stdout, '')
  }
})

t.test('check tells what is good and what is not, and shows no secret', async (t) => {
  const folder = folderWith(t, {
    acme: 'secrets: { key: { env: API_KEY } }\nrules: [{ match: { host: a.test }, set: { a: "${secret:key}" } }]',
  })
  const good = await run(t, ['check', '--config', 'gateway.yaml'], folder)
  t.strictSame([good.status, good.stderr], [0, ''])
  t.equal(good.stdout, 'gateway.yaml: good: 2 sessions, 2 organisations, 1 rules\n')
  writeFileSync(join(folder, 'gateway.yaml'), 'lisen: 1\naudit: { onerror: block }\n')
  const bad = await run(t, ['check', '--config', 'gateway.yaml'], folder)
  t.equal(bad.status, 78)
  t.equal(bad.stdout, '')
  t.match(bad.stderr, /^gateway\.yaml:1:1: unknown key "lisen" \(did you mean listen\?\)$/m)
  t.match(bad.stderr, /^gateway\.yaml:2:10: unknown key "onerror" \(did you mean onError\?\)$/m)
  writeFileSync(join(folder, 'gateway.yaml'), 'listen: 0.0.0.0:1\naudit: { file: state }\n')
  const warned = await run(t, ['check', '--config', 'gateway.yaml'], folder)
  t.equal(warned.status, 78, 'the audit file is a folder')
  t.match(warned.stderr, /warning: gateway\.yaml:1:1: without tls/)
  t.equal((await run(t, ['check', '--config', 'none.yaml'], folder)).status, 78)
})

const pki = await makePki()

async function serving(t: Test, options: TestGatewayOptions = {}) {
  const folder = folderWith(t, { originCa: pki.caPem, ...options })
  const running = start(t, ['serve', '--config', join(folder, 'gateway.yaml'), '--log-format', 'json'])
  const ready = JSON.parse(await eventually(() => /^.*\n/.exec(running.stdout())?.[0])) as {
    url: string
    caFingerprint: string
  }
  const ca = readFileSync(join(folder, 'state', 'ca.pem'), 'utf8')
  const records = () =>
    readFileSync(join(folder, 'audit.jsonl'), 'utf8')
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line))
  return { ...running, folder, ready, ca, records }
}

t.test('serve prints one line when it is ready, serves, and ends with 0 at a SIGTERM', async (t) => {
  const origin = await testOrigin(t, pki)
  const { child, ready, ca, exited, stdout, stderr, records, folder } = await serving(t)
  t.strictSame(Object.keys(ready), ['event', 'url', 'caFingerprint'])
  t.match(ready, {
    event: 'ready',
    url: /^http:\/\/127\.0\.0\.1:\d+$/,
    caFingerprint: new X509Certificate(ca).fingerprint256,
  })
  const socket = await secure(ready.url, origin.authority, { ca })
  t.equal((await exchange(socket, { headers: { Host: origin.authority } })).status, 200)
  child.kill('SIGTERM')
  t.equal(await tunnelOf(socket).closeCode, 1000, 'an idle tunnel is ended well')
  t.equal(await exited, 0)
  t.equal(stdout().split('\n').length, 2, 'that one line, and nothing else')
  t.strictSame(
    records().map(({ event }) => event),
    ['start', 'request', 'connect', 'stop'],
  )
  for (const line of stderr().trim().split('\n')) t.ok(JSON.parse(line).event, line)
  t.notMatch(stdout() + stderr() + readFileSync(join(folder, 'audit.jsonl'), 'utf8'), /CANARY/)
})

t.test('a request under way may finish while the gateway drains; nothing new begins', async (t) => {
  let finish: () => void = () => undefined
  const origin = await testOrigin(t, pki, {
    serve(_, response) {
      response.write('begun ')
      finish = () => response.end('and done')
    },
  })
  const { child, ready, ca, exited } = await serving(t)
  const socket = await secure(ready.url, origin.authority, { ca })
  const request = `GET / HTTP/1.1\r\nHost: ${origin.authority}\r\n\r\n`
  socket.write(request)
  await eventually(() => origin.requests.length === 1)
  child.kill('SIGINT')
  await eventually(() =>
    secure(ready.url, origin.authority, { ca }).then(
      () => false,
      (error) => error.code === 'ECONNREFUSED',
    ),
  )
  socket.write(request)
  const text = readAll(socket)
  // The answer to a ping means that what was sent before it has come.
  tunnelOf(socket).webSocket.ping()
  await once(tunnelOf(socket).webSocket, 'pong')
  finish()
  const [first, second] = (await text).toString().split(/(?=HTTP\/1\.1 503)/)
  t.match(first, /^HTTP\/1\.1 200 OK\r\n.*begun .*and done/s)
  t.match(second, /details="draining"/)
  t.equal(await exited, 0)
})

t.test('what does not finish in time is broken, and recorded as that', async (t) => {
  const origin = await testOrigin(t, pki, { serve: (_, response) => void response.write('begun') })
  const { child, ready, ca, exited, records } = await serving(t, { more: 'limits: { drainMs: 100 }' })
  const socket = await secure(ready.url, origin.authority, { ca })
  const sent = send(socket, { headers: { Host: origin.authority } })
  sent.on('error', () => undefined)
  sent.end()
  await once(sent, 'response')
  child.kill('SIGTERM')
  t.not(await tunnelOf(socket).closeCode, 1000)
  t.equal(await exited, 0)
  t.match(
    records().find(({ event }) => event === 'request'),
    { reason: 'drain-deadline', status: 200 },
  )
})

t.test('a second signal does not wait', async (t) => {
  const origin = await testOrigin(t, pki, { serve: (_, response) => void response.write('begun') })
  const { child, ready, ca, exited, stderr } = await serving(t)
  const socket = await secure(ready.url, origin.authority, { ca })
  const sent = send(socket, { headers: { Host: origin.authority } })
  sent.on('error', () => undefined)
  sent.end()
  await once(sent, 'response')
  child.kill('SIGTERM')
  await eventually(() => stderr().includes('"draining"'))
  child.kill('SIGTERM')
  t.equal(await exited, 'SIGTERM')
})

t.test('what cannot start says why, with a status of its own', async (t) => {
  const taken = createServer()
  await new Promise<void>((resolve) => taken.listen(0, '127.0.0.1', resolve))
  t.teardown(() => taken.close())
  const { port } = taken.address() as { port: number }
  const listen = (folder: string) =>
    writeFileSync(join(folder, 'gateway.yaml'), configText({}).replace('127.0.0.1:0', `127.0.0.1:${port}`))
  const cases: [name: string, spoil: (folder: string) => void, status: number, message: RegExp][] = [
    ['a port that is taken', listen, 69, /cannot listen on 127\.0\.0\.1:\d+: EADDRINUSE/],
    [
      'no folder for the audit',
      (folder) =>
        writeFileSync(join(folder, 'gateway.yaml'), configText({ auditFile: 'gateway.yaml/audit.jsonl' })),
      73,
      /the audit file .* cannot be opened: (ENOTDIR|EEXIST)/,
    ],
    ['no CA', (folder) => writeFileSync(join(folder, 'state', 'ca.pem'), 'x'), 73, /its key .* is not/],
    [
      'a wrong configuration',
      (folder) => writeFileSync(join(folder, 'gateway.yaml'), 'listen: x'),
      78,
      /gateway\.yaml:1:1: listen: expected ADDRESS:PORT/,
    ],
  ]
  for (const [name, spoil, status, message] of cases) {
    const folder = folderWith(t)
    spoil(folder)
    const result = await run(t, ['serve', '--config', join(folder, 'gateway.yaml')])
    t.equal(result.status, status, name)
    t.match(result.stderr, message, name)
    t.equal(result.stdout, '', name)
  }
})
