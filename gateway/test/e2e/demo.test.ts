import {
  chmodSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { eventually, within } from '../../../dist-test/support/deadline.js'
import { needing } from './clients.js'
import { type Program, startProgram } from './processes.js'
import { GATEWAY_CLI } from './world.js'

const PATH = process.env['PATH'] ?? ''
const NEEDS_CURL = needing('curl')

t.test('every claim holds: exit status 0, and the story has all its parts', NEEDS_CURL, async (t) => {
  const { program, folder } = start(t)
  const { status, out, err } = await within(program.ended, 'the demo')
  t.equal(status, 0, out + err)
  t.equal(err, '')
  for (const part of [
    /\$ upstreamproxy run -- curl .*https:\/\/api\.example\.test:\d+\/v1\/hello/,
    /^ {3}> GET \/v1\/hello\?name=ada HTTP\/1\.1$/m,
    /^ {3}authorization: Bearer •+ +◀ added by the gateway$/m,
    /"event":"request".*\n?.*"path":"\/v1\/hello\?name=\*"/s,
    /HTTPS_PROXY https_proxy/,
    /the whole demo took \d+(\.\d)? m?s/,
  ]) {
    t.match(out, part)
  }
  t.equal(out.match(/✓/g)?.length, 9)
  t.notMatch(out, /✗|undefined|NaN/)
  t.notOk(out.includes('\u001b'), 'no colour')
  t.notMatch(out, /acme-[0-9a-f]{8}/, 'the key')
  t.ok(Math.max(...out.split('\n').map((line) => line.length)) <= 100, 'no line is longer than 100')
  t.same(readdirSync(folder), [])
})

t.test('without curl a Node program takes its place, and says so', async (t) => {
  const { program, folder } = start(t, { PATH: '/nonexistent' })
  const { status, out } = await within(program.ended, 'the demo')
  t.equal(status, 0, out)
  t.match(out, 'curl is not installed')
  t.equal(out.match(/✓/g)?.length, 9)
  t.same(readdirSync(folder), [])
})

t.test('a claim that does not hold is marked, and the exit status is 1', NEEDS_CURL, async (t) => {
  for (const [what, curl, claim] of [
    [
      'sends a header of its own',
      'exec "$CURL" -H "Authorization: Bearer guess" "$@"',
      /✗ curl did not send it/,
    ],
    [
      'goes past the relay',
      'exec "$CURL" --noproxy "*" -k --connect-to "api.example.test::127.0.0.1:" "$@"',
      /✗ the origin got the key/,
    ],
    ['shows nothing of its request', 'exec "$CURL" "$@" 2>/dev/null', /✗ the certificate that curl accepted/],
    ['fails', 'echo broken >&2; exit 7', /✗ curl reached the origin/],
  ] as const) {
    const { program, folder } = start(t, withCurl(t, curl))
    const { status, out } = await within(program.ended, 'the demo')
    t.equal(status, 1, `a curl that ${what}`)
    t.match(out, claim)
    t.match(out, /\d of 9 did not hold/)
    t.same(readdirSync(folder), [])
  }
})

t.test('interrupted while the client hangs: nothing is left, and the exit status says so', async (t) => {
  for (const [signal, status] of [
    ['SIGINT', 130],
    ['SIGTERM', 143],
  ] as const) {
    const pidFile = join(makeFolder(t), 'pid')
    const { program, folder } = start(
      t,
      withCurl(t, `echo $$ > ${pidFile}.new; mv ${pidFile}.new ${pidFile}; exec sleep 60`),
    )
    await eventually(() => existsSync(pidFile), 'the client')
    program.process.kill(signal)
    const ended = await within(program.ended, `the end after ${signal}`)
    t.equal(ended.status, status)
    t.match(ended.err, 'Interrupted. Nothing is left behind.')
    t.same(readdirSync(folder), [])
    const client = Number(readFileSync(pidFile, 'utf8'))
    t.throws(() => process.kill(client, 0), { code: 'ESRCH' }, 'the client has ended')
  }
})

t.test('interrupted at any moment, it leaves nothing', NEEDS_CURL, async (t) => {
  for (const afterMs of [0, 30, 60, 120, 200]) {
    const { program, folder } = start(t)
    await eventually(() => readdirSync(folder).length > 0 || program.process.exitCode !== null, 'its folder')
    await new Promise((resolve) => setTimeout(resolve, afterMs))
    program.process.kill('SIGINT')
    const { status } = await within(program.ended, `the end after ${afterMs} ms`)
    t.ok(status === 130 || status === 0, `exit status ${status} after ${afterMs} ms`)
    t.same(readdirSync(folder), [])
  }
})

t.test('where it cannot be set up, it says why', async (t) => {
  const { status, out } = await within(start(t, { TMPDIR: '/nonexistent' }).program.ended, 'the demo')
  t.equal(status, 1)
  t.match(out, /could not be played: .*ENOENT.*\/nonexistent/)
})

t.test('a reader that leaves early does not keep it from clearing up', NEEDS_CURL, async (t) => {
  const { program, folder } = start(t)
  program.process.stdout?.destroy()
  t.equal((await within(program.ended, 'the demo')).status, 0)
  t.same(readdirSync(folder), [])
})

t.test('colours are for terminals, and not with NO_COLOR', needing('script'), async (t) => {
  for (const [more, coloured] of [
    [{ TERM: 'xterm' }, true],
    [{ TERM: 'xterm', NO_COLOR: '1' }, false],
    [{ TERM: 'dumb' }, false],
  ] as const) {
    const folder = makeFolder(t)
    const env = { PATH, TMPDIR: folder, ...more }
    const words = ['-qec', `'${process.execPath}' '${GATEWAY_CLI}' demo`, '/dev/null']
    const { status, out } = await within(startProgram(t, 'script', words, { env }).ended, 'the demo')
    t.equal(status, 0)
    t.equal(out.includes('\u001b['), coloured, JSON.stringify(more))
  }
})

// Its temporary folder goes into one of ours, which is to be empty afterwards.
function start(t: Test, more: Record<string, string> = {}): { program: Program; folder: string } {
  const folder = makeFolder(t)
  const env = { PATH, TMPDIR: folder, ...more }
  return { program: startProgram(t, process.execPath, [GATEWAY_CLI, 'demo'], { env }), folder }
}

/** A PATH on which `curl` is a script; $CURL in it is the real one. */
function withCurl(t: Test, script: string): { PATH: string } {
  const folder = makeFolder(t)
  mkdirSync(join(folder, 'bin'))
  const file = join(folder, 'bin/curl')
  const real =
    PATH.split(':')
      .map((it) => join(it, 'curl'))
      .find(existsSync) ?? 'curl'
  writeFileSync(file, `#!/bin/sh\n[ "$1" = --version ] && exit 0\nCURL='${real}'\n${script}\n`)
  chmodSync(file, 0o755)
  return { PATH: `${join(folder, 'bin')}:${PATH}` }
}

function makeFolder(t: Test): string {
  const folder = mkdtempSync(join(tmpdir(), 'upstreamproxy-e2e-'))
  t.teardown(() => rmSync(folder, { recursive: true, force: true }))
  return folder
}
