/** What hardening changes for a host program is what docs/security.md says, no less and no more. */
import { spawnSync } from 'node:child_process'
import { existsSync, readFileSync } from 'node:fs'
import t from 'tap'
import { NOBODY, startHost } from './host.js'

const LINUX = process.platform === 'linux' ? {} : { skip: 'of Linux' }
const DOC = readFileSync(new URL('../../docs/security.md', import.meta.url), 'utf8')

t.test('a process is denied of its own /proc/self what the documentation lists', LINUX, async (t) => {
  const documented = /cannot read ([^;]*);\s+nor write ([^.]*)\./.exec(DOC)!
  const names = (text: string) => [...text.matchAll(/`(?:\/proc\/self\/)?(\w+)`/g)].map(([, name]) => name!)
  const [off, hardened] = [
    await startHost(t, { given: { hardening: 'off' } }),
    await startHost(t, { given: { hardening: 'default' } }),
  ]
  for (const [mode, text] of [
    ['r', documented[1]!],
    ['a', documented[2]!],
  ] as const) {
    const before = (await off.ask(denied(mode))) as string[]
    const after = (await hardened.ask(denied(mode))) as string[]
    const lost = after.filter((name) => !before.includes(name))
    const ofOwner = (await off.ask(ownersAlone(mode))) as string[]
    t.same(
      lost,
      ofOwner.filter((name) => !before.includes(name)),
      'the rule',
    )
    // A kernel may have been built without some of them.
    const listed = names(text).filter((name) => existsSync(`/proc/self/${name}`))
    t.ok(listed.length > 3, 'the list is found')
    t.same(
      listed.filter((name) => !lost.includes(name)),
      [],
      'the list',
    )
  }
})

t.test('another process of its user sees less of it', LINUX, async (t) => {
  const seen = (pid: number) =>
    ['fd', 'maps', 'exe', 'cwd'].filter((name) => {
      const user = NOBODY === undefined ? {} : { uid: NOBODY, gid: NOBODY }
      const words = [
        '-c',
        'test -L "$1" && exec readlink "$1"; test -d "$1" && exec ls "$1"; exec cat "$1"',
        'sh',
      ]
      return spawnSync('sh', [...words, `/proc/${pid}/${name}`], user).status === 0
    })
  const off = await startHost(t, { given: { hardening: 'off' } })
  t.same(seen(off.pid), ['fd', 'maps', 'exe', 'cwd'])
  const hardened = await startHost(t)
  t.same(seen(hardened.pid), [])
})

t.test('a child is an ordinary process again', LINUX, async (t) => {
  const host = await startHost(t)
  const child = `load('child_process').spawnSync(process.execPath, ['-p', 'fs.statSync("/proc/self/environ").uid + process.listenerCount("SIGUSR1")'], { encoding: 'utf8' }).stdout`
  t.equal(Number(await host.ask(child)), NOBODY ?? process.getuid?.())
  t.equal(await host.ask(`process.listenerCount('SIGUSR1')`), 1)
})

// Names of what gives EACCES, opened in a mode. Opening changes nothing.
const denied = (mode: string) => `fs.readdirSync('/proc/self').filter((name) => {
  const path = '/proc/self/' + name
  if (!fs.lstatSync(path).isFile()) return false
  try {
    fs.closeSync(fs.openSync(path, '${mode}'))
    return false
  } catch (error) {
    return error.code === 'EACCES'
  }
})`
// Names of what only its owner may open in a mode.
const ownersAlone = (mode: string) => `fs.readdirSync('/proc/self').filter((name) => {
  const stat = fs.lstatSync('/proc/self/' + name)
  const [owner, others] = '${mode}' === 'r' ? [0o400, 0o004] : [0o200, 0o002]
  return stat.isFile() && (stat.mode & owner) !== 0 && (stat.mode & others) === 0
})`
