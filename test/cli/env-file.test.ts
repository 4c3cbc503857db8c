import { execFileSync, spawnSync } from 'node:child_process'
import {
  existsSync,
  lstatSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { envFile, envFileText } from '#src/cli/env-file.js'
import { makeFolder } from './program.js'

const VARIABLES = {
  HTTPS_PROXY: 'http://127.0.0.1:41234',
  NO_PROXY: 'localhost,127.0.0.0/8,::1,[::1],.anthropic.com,*.anthropic.com,10.0.0.0/8',
  SSL_CERT_FILE: '/home/josé/.ccr/ca-bundle.crt',
}

t.test('a shell that sources the file gets every value as it was', async (t) => {
  const path = join(makeFolder(t), 'proxy.env')
  envFile(path).write(VARIABLES)
  // In a folder with files that the star could match.
  const script = `cd / && set -a && . ${path} && exec ${process.execPath} -p 'JSON.stringify(process.env)'`
  const { stdout } = spawnSync('/bin/sh', ['-eu', '-c', script], {
    env: { HOME: '/nowhere' },
    encoding: 'utf8',
  })
  t.match(JSON.parse(stdout), VARIABLES)
})

t.test('there are no quotes, which docker would take for part of the value', async (t) => {
  t.equal(envFileText({ A: 'x', B: 'y=z' }), 'A=x\nB=y=z\n')
  t.equal(envFileText({}), '')
})

t.test(
  'a value that the readers would take differently is refused, and with it the whole file',
  async (t) => {
    const path = join(makeFolder(t), 'proxy.env')
    for (const value of [
      'a b',
      'a\nB=c',
      "it's",
      '"',
      '$HOME',
      '`id`',
      '\\',
      'a;b',
      'a&b',
      '~/x',
      'x#y',
      '\0',
      '\u2028',
    ]) {
      t.throws(
        () => envFile(path).write({ A: 'fine', B: value }),
        { code: 'ERR_ENV_FILE', hint: /choose a path/ },
        encodeURIComponent(value),
      )
    }
    t.throws(() => envFileText({ 'A B': 'x' }), { code: 'ERR_ENV_FILE' })
    t.throws(() => lstatSync(path), { code: 'ENOENT' })
  },
)

t.test('the file is 0644 whatever the umask, and nothing is left beside it', async (t) => {
  const folder = makeFolder(t)
  const before = process.umask(0o077)
  t.teardown(() => process.umask(before))
  envFile(join(folder, 'proxy.env')).write(VARIABLES)
  t.equal(statSync(join(folder, 'proxy.env')).mode & 0o777, 0o644)
  t.same(readdirSync(folder), ['proxy.env'])
})

t.test('a reader sees the old file or the new one, never a part', async (t) => {
  const path = join(makeFolder(t), 'proxy.env')
  writeFileSync(path, 'OLD=1\n')
  const before = statSync(path).ino
  envFile(path).write(VARIABLES)
  t.not(statSync(path).ino, before, 'another file under the same name')
})

t.test('a symbolic link is replaced, not followed', async (t) => {
  const folder = makeFolder(t)
  writeFileSync(join(folder, 'target'), 'precious')
  symlinkSync('target', join(folder, 'proxy.env'))
  const file = envFile(join(folder, 'proxy.env'))
  file.removeLeftover()
  file.write(VARIABLES)
  t.equal(readFileSync(join(folder, 'target'), 'utf8'), 'precious')
  t.ok(lstatSync(join(folder, 'proxy.env')).isFile())
})

t.test('a leftover is removed at start, unless it is something other than a file', async (t) => {
  const folder = makeFolder(t)
  const path = join(folder, 'proxy.env')
  envFile(path).removeLeftover()
  writeFileSync(path, 'HTTPS_PROXY=http://127.0.0.1:1\n')
  envFile(path).removeLeftover()
  t.same(readdirSync(folder), [])
  mkdirSync(path)
  t.throws(() => envFile(path).removeLeftover(), { code: 'ERR_ENV_FILE', message: /not a regular file/ })
  const pipe = join(folder, 'pipe')
  execFileSync('mkfifo', [pipe])
  t.throws(() => envFile(pipe).removeLeftover(), { code: 'ERR_ENV_FILE', message: /not a regular file/ })
  t.throws(() => envFile(join(folder, 'no/such/folder')).write({}), {
    code: 'ERR_ENV_FILE',
    message: /ENOENT/,
  })
})

t.test('at the end the file is emptied, but only while it is still ours', async (t) => {
  const path = join(makeFolder(t), 'proxy.env')
  const file = envFile(path)
  file.write(VARIABLES)
  file.empty()
  t.equal(readFileSync(path, 'utf8'), '')
  file.write(VARIABLES)
  rmSync(path)
  file.empty()
  t.notOk(existsSync(path), 'what was taken away stays away')
  file.write(VARIABLES)
  writeFileSync(path, 'HTTPS_PROXY=http://127.0.0.1:2\n')
  file.empty()
  t.equal(readFileSync(path, 'utf8'), 'HTTPS_PROXY=http://127.0.0.1:2\n', "a successor's file stays")
})

t.test('where nothing could be written, an empty file still says so', async (t) => {
  const path = join(makeFolder(t), 'proxy.env')
  const file = envFile(path)
  t.throws(() => file.write({ A: 'a b' }), { code: 'ERR_ENV_FILE' })
  file.empty()
  t.equal(readFileSync(path, 'utf8'), '')
  t.doesNotThrow(() => envFile('/no/such/folder/proxy.env').empty())
})
