/** The documents say what the code does: their tables are compared with it. */
import { readdirSync, readFileSync } from 'node:fs'
import t from 'tap'
import { LIMITS } from '#src/limits.js'
import { REASONS, type ReasonCode, reasonOf } from '#src/reasons.js'
import { connect, exchange, secure } from './support/client.js'
import { eventually, testGateway } from './support/gateway.js'
import { testOrigin } from './support/origin.js'
import { makePki } from './support/pki.js'

const gateway = readFileSync(new URL('../../docs/gateway.md', import.meta.url), 'utf8')
const audit = readFileSync(new URL('../../docs/audit.md', import.meta.url), 'utf8')

function block(text: string, name: string): string[] {
  const found = new RegExp(`<!-- ${name}: begin -->\n([^]*?)<!-- ${name}: end -->`).exec(text)
  return (found?.[1] ?? '').split('\n').filter((line) => line !== '')
}

t.test('docs/gateway.md has every reason, with its status, error and meaning', (t) => {
  const rows = (Object.keys(REASONS) as ReasonCode[]).map((code) => {
    const { status, proxyError, meaning } = reasonOf(code)
    return `| \`${code}\` | ${status ?? ''} | ${proxyError === undefined ? '' : `\`${proxyError}\``} | ${meaning} |`
  })
  t.strictSame(block(gateway, 'reasons'), rows)
  t.end()
})

t.test('docs/gateway.md has every limit, with its default', (t) => {
  const rows = Object.entries(LIMITS).map(([name, entry]) => {
    const shown = String(entry.default).replace(/\B(?=(\d{3})+$)/g, ' ')
    return `| \`${name}\` | ${shown} | ${entry.meaning} |`
  })
  t.strictSame(block(gateway, 'limits'), rows)
  t.end()
})

t.test('every reason is provoked by a test', (t) => {
  const folder = new URL('../test/', import.meta.url)
  const tests = readdirSync(folder).filter((name) => name.endsWith('.test.ts') && name !== 'docs.test.ts')
  const text = tests.map((name) => readFileSync(new URL(name, folder), 'utf8')).join('')
  t.strictSame(
    Object.keys(REASONS).filter((code) => !new RegExp(`(?<![\\w-])${code}(?![\\w-])`).test(text)),
    [],
  )
  t.end()
})

t.test('docs/audit.md has every field of a record, in its order and with its type', async (t) => {
  const pki = await makePki()
  const origin = await testOrigin(t, pki)
  const { gateway: running, records } = await testGateway(t, { originCa: pki.caPem })
  const socket = await secure(running.url, origin.authority, { ca: running.caCertificate })
  await exchange(socket, { path: '/?a=b', headers: { Host: origin.authority } })
  await exchange(socket, { path: '/', headers: { Host: 'other.test' } })
  socket.destroy()
  await connect(running.url, '', { head: 'nonsense\r\n\r\n' })
  const seen = await eventually(() => records().length === 4 && records())
  const documented = (name: string) =>
    new Map(
      block(audit, name).map(
        (row) =>
          row
            .split('|')
            .slice(1, 3)
            .map((cell) => cell.trim().replaceAll('`', '')) as [string, string],
      ),
    )
  for (const record of seen) {
    const { v, time, event, ...fields } = record
    t.equal(v, 1)
    t.match(time, /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/)
    const types = new Map([...documented('shared'), ...documented(String(event))])
    t.strictSame(Object.keys(fields).sort(), [...types.keys()].sort(), String(event))
    for (const [name, value] of Object.entries(fields)) {
      const type = value === null ? 'null' : Array.isArray(value) ? 'array of strings' : typeof value
      const allowed = types.get(name)?.split(', ') ?? []
      t.ok(allowed.includes(type) || allowed.includes(String(value)), `${name}: ${String(value)}`)
    }
  }
  const [example = ''] = /^\{"v":1.*\}$/m.exec(audit) ?? []
  const request = seen.find(({ event, decision }) => event === 'request' && decision === 'allow') ?? {}
  t.strictSame(Object.keys(JSON.parse(example)), Object.keys(request), 'the example is one')
})
