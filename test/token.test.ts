import { execFileSync } from 'node:child_process'
import { existsSync, lstatSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { inspect } from 'node:util'
import t from 'tap'
import { readToken, Token, tokenFileExists, unlinkToken } from '#src/token.js'

const CANARY = 'canary-5f0c2b7e'

t.test('a token prints as <redacted> in every way, and is revealed in one', async (t) => {
  const token = new Token(CANARY)
  const all = [
    String(token),
    `${token}`,
    JSON.stringify({ token }),
    inspect(token),
    inspect({ a: [token] }, { depth: 9, showHidden: true }),
  ]
  for (const text of all) {
    t.match(text, '<redacted>')
    t.notMatch(text, CANARY)
  }
  t.same(Object.keys(token), [])
  t.equal(token.reveal(), CANARY)
})

t.test('a token is one line of visible ASCII; white space around it is ignored', async (t) => {
  const folder = t.testdir({
    plain: 'abc',
    newline: 'abc\n',
    spaces: ' \t\r\n abc \r\n\n',
    visible: '!~:/+=.-_',
    longest: `${'x'.repeat(4096)}\n`,
  })
  t.equal((await readToken(join(folder, 'plain'))).reveal(), 'abc')
  t.equal((await readToken(join(folder, 'newline'))).reveal(), 'abc')
  t.equal((await readToken(join(folder, 'spaces'))).reveal(), 'abc')
  t.equal((await readToken(join(folder, 'visible'))).reveal(), '!~:/+=.-_')
  t.equal((await readToken(join(folder, 'longest'))).reveal(), 'x'.repeat(4096))
})

t.test('what cannot be a token is refused by its reason, and no byte of it is told', async (t) => {
  const folder = t.testdir({
    empty: '',
    blank: ' \n\t\n',
    'two-lines': `${CANARY}\n${CANARY}\n`,
    'inner-space': `${CANARY} x`,
    control: `${CANARY}\x07x`,
    'not-ascii': `${CANARY}é`,
    mark: `\ufeff${CANARY}`,
    large: CANARY + 'x'.repeat(4096),
    huge: CANARY + 'x'.repeat(100_000),
    folder: {},
  })
  symlinkSync('loop', join(folder, 'loop'))
  const expected: Record<string, string> = {
    empty: 'ERR_TOKEN_EMPTY',
    blank: 'ERR_TOKEN_EMPTY',
    'two-lines': 'ERR_TOKEN_MALFORMED',
    'inner-space': 'ERR_TOKEN_MALFORMED',
    control: 'ERR_TOKEN_MALFORMED',
    'not-ascii': 'ERR_TOKEN_MALFORMED',
    mark: 'ERR_TOKEN_MALFORMED',
    large: 'ERR_TOKEN_TOO_LARGE',
    huge: 'ERR_TOKEN_TOO_LARGE',
    folder: 'ERR_TOKEN_NOT_A_FILE',
    'not-there': 'ERR_TOKEN_MISSING',
    loop: 'ERR_TOKEN_UNREADABLE',
    'empty/below-a-file': 'ERR_TOKEN_UNREADABLE',
  }
  for (const [name, code] of Object.entries(expected)) {
    const error: Error = await readToken(join(folder, name)).then(
      () => t.fail(`accepted: ${name}`),
      (reason) => reason,
    )
    t.match(error, { code }, name)
    t.notMatch(inspect(error, { depth: 9 }).replaceAll(folder, ''), CANARY, name)
  }
  await t.rejects(readToken(join(folder, 'mark')), { code: 'ERR_TOKEN_MALFORMED', hint: /byte order mark/ })
})

t.test('a FIFO and a device are no token files, and hold nobody up', async (t) => {
  const fifo = join(t.testdir(), 'fifo')
  execFileSync('mkfifo', [fifo])
  await t.rejects(readToken(fifo), { code: 'ERR_TOKEN_NOT_A_FILE' })
  await t.rejects(readToken('/dev/zero'), { code: 'ERR_TOKEN_NOT_A_FILE' })
})

t.test('unlinking takes the file behind a symbolic link too', async (t) => {
  const folder = t.testdir({ data: { token: CANARY }, plain: CANARY })
  const link = join(folder, 'link')
  symlinkSync('data/token', link)
  t.ok(await tokenFileExists(link))
  await unlinkToken(link)
  t.notOk(existsSync(join(folder, 'data/token')))
  t.equal(lstatSync(link, { throwIfNoEntry: false }), undefined)
  await unlinkToken(join(folder, 'plain'))
  t.notOk(existsSync(join(folder, 'plain')))
  await t.resolves(unlinkToken(join(folder, 'plain')), 'nothing there is nothing to do')
  t.notOk(await tokenFileExists(join(folder, 'plain')))
})

t.test('unlinking what is no file, or cannot be removed, is ERR_TOKEN_UNLINK', async (t) => {
  const folder = t.testdir({ folder: { precious: 'x' } })
  await t.rejects(unlinkToken(join(folder, 'folder')), { code: 'ERR_TOKEN_UNLINK' })
  t.equal(readFileSync(join(folder, 'folder/precious'), 'utf8'), 'x')
  writeFileSync(join(folder, 'file'), '')
  await t.rejects(unlinkToken(join(folder, 'file/below')), { code: 'ERR_TOKEN_UNLINK', hint: /./ })
})
