import { spawnSync } from 'node:child_process'
import { closeSync, existsSync, openSync, readFileSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { Audit, type AuditRecord, recordedPath } from '#src/audit.js'
import { createLog } from '#src/log.js'
import { connect, exchange, secure } from './support/client.js'
import { eventually, temporaryFolder, testGateway } from './support/gateway.js'
import { testOrigin } from './support/origin.js'
import { makePki } from './support/pki.js'

const FULL = '/dev/full'
const noFull = existsSync(FULL) ? false : 'this system has no /dev/full'
const START: AuditRecord = { event: 'start', gateway: '0', pid: 1 }

function auditIn(t: Test, file: string, onError: 'block' | 'continue' = 'block', maxHeldBytes?: number) {
  const lines: string[] = []
  const log = createLog({ write: (line) => lines.push(line) })
  const audit = new Audit({ file, onError, log, ...(maxHeldBytes !== undefined && { maxHeldBytes }) })
  t.teardown(() => audit.close())
  return { audit, logged: () => lines.join('') }
}

function linesOf(file: string): Record<string, unknown>[] {
  return readFileSync(file, 'utf8')
    .split('\n')
    .filter((line) => line !== '')
    .map((line) => JSON.parse(line))
}

// Where tap listens for signals, one that it alone listens to ends the process.
process.on('SIGXFSZ', () => undefined)

// Files of this process may not grow over so many bytes: writes fail with EFBIG, in the middle of a line if need be.
function limitFiles(t: Test, bytes: number): void {
  setLimit(String(bytes))
  t.teardown(liftLimit)
}

function liftLimit(): void {
  setLimit('unlimited')
}

function setLimit(limit: string): boolean {
  return spawnSync('prlimit', [`--pid=${process.pid}`, `--fsize=${limit}:unlimited`]).status === 0
}

const noLimit = setLimit('unlimited') ? false : 'this system has no prlimit'

function requestRecord(n: number): AuditRecord {
  return {
    event: 'request',
    session: 's',
    org: 'o',
    connection: 'c',
    request: `c-${n}`,
    method: 'GET',
    host: 'a.test',
    port: 443,
    path: '/',
    rule: null,
    injected: [],
    decision: 'allow',
    reason: null,
    detail: null,
    status: 200,
    bytesUp: 0,
    bytesDown: 0,
    waitMs: 1,
    durationMs: 1,
  }
}

t.test('the file is made for its owner alone, its folder too, and is appended to', (t) => {
  const file = join(temporaryFolder(t), 'deep', 'audit.jsonl')
  const first = auditIn(t, file).audit
  first.write(START)
  first.close()
  t.equal((statSync(file).mode & 0o777).toString(8), '600')
  const second = auditIn(t, file).audit
  second.write(START)
  t.equal(linesOf(file).length, 2)
  t.match(linesOf(file)[0], { v: 1, event: 'start', time: /^\d{4}-\d\d-\d\dT/ })
  t.end()
})

t.test('a line that a crash left half written is ended, and spoils no other', (t) => {
  const file = join(temporaryFolder(t), 'audit.jsonl')
  writeFileSync(file, '{"v":1,"event":"requ')
  auditIn(t, file).audit.write(START)
  const [torn, whole] = readFileSync(file, 'utf8').split('\n')
  t.equal(torn, '{"v":1,"event":"requ')
  t.equal(JSON.parse(whole ?? '').event, 'start')
  t.end()
})

t.test('a path is recorded without what its query holds', (t) => {
  t.equal(recordedPath('/a/b'), '/a/b')
  t.equal(recordedPath('/a?x=1&y=2'), '/a?x=*&y=*')
  t.equal(recordedPath('/a?SECRET'), '/a?*')
  t.equal(recordedPath('/a?x=1?SECRET=2&SECRET'), '/a?x=*&*')
  t.equal(recordedPath('/a?'), '/a?*')
  t.equal(recordedPath(`/${'x'.repeat(5000)}`).length, 2049)
  t.end()
})

t.test(
  'a sink that does not take records is noticed, and with block nothing goes ahead',
  { skip: noFull },
  (t) => {
    const { audit, logged } = auditIn(t, FULL)
    t.ok(audit.admits(), 'until then nothing is known')
    audit.write(START)
    t.ok(audit.broken)
    t.notOk(audit.admits())
    t.match(logged(), /error: audit-broken cause=ENOSPC consequence="requests are refused"/)
    audit.write(START)
    t.equal(logged().match(/audit-broken/g)?.length, 1, 'told once')
    audit.close()
    t.match(logged(), /audit-records-lost records=2/)
    const going = auditIn(t, FULL, 'continue')
    going.audit.write(START)
    t.ok(going.audit.broken)
    t.ok(going.audit.admits(), 'with continue all goes on')
    t.end()
  },
)

t.test(
  'what could not be written is held, and written whole and in order when there is room again',
  { skip: noLimit },
  (t) => {
    const file = join(temporaryFolder(t), 'audit.jsonl')
    const { audit, logged } = auditIn(t, file)
    audit.write(requestRecord(1))
    // Room for a part of the next line: it is torn, and must be completed before anything else.
    limitFiles(t, statSync(file).size + 20)
    audit.write(requestRecord(2))
    audit.write(requestRecord(3))
    t.notOk(audit.admits())
    t.equal(statSync(file).size, Buffer.byteLength(readFileSync(file)))
    t.throws(() => linesOf(file), 'the last line is torn')
    liftLimit()
    t.ok(audit.admits(), 'tried again before the next request')
    t.strictSame(
      linesOf(file).map(({ request }) => request),
      ['c-1', 'c-2', 'c-3'],
    )
    t.match(logged(), /audit-broken cause=EFBIG.*\n.*audit-recovered/)
    t.end()
  },
)

t.test('what is held is bounded, and what was lost is counted in the record', { skip: noLimit }, (t) => {
  const file = join(temporaryFolder(t), 'audit.jsonl')
  const { audit } = auditIn(t, file, 'continue', 1000)
  audit.write(requestRecord(1))
  limitFiles(t, statSync(file).size)
  for (let n = 2; n <= 20; n++) audit.write(requestRecord(n))
  liftLimit()
  audit.write(requestRecord(21))
  const lines = linesOf(file)
  const lost = lines.find(({ event }) => event === 'lost')
  t.equal(lines.filter(({ event }) => event === 'request').length + Number(lost?.['records']), 21)
  t.ok(Number(lost?.['records']) > 10)
  t.equal(lines.at(-1)?.['request'], 'c-21')
  t.end()
})

t.test('a broken sink is tried again without being asked', { skip: noLimit }, async (t) => {
  const file = join(temporaryFolder(t), 'audit.jsonl')
  const { audit } = auditIn(t, file)
  limitFiles(t, 1)
  audit.write(requestRecord(1))
  t.ok(audit.broken)
  liftLimit()
  await eventually(() => !audit.broken)
  t.equal(linesOf(file).length, 1)
})

t.test('nothing is written after the file is closed, whoever has its descriptor then', (t) => {
  const folder = temporaryFolder(t)
  const { audit, logged } = auditIn(t, join(folder, 'audit.jsonl'))
  audit.write(START)
  audit.close()
  const other = join(folder, 'other')
  const descriptors = Array.from({ length: 20 }, () => openSync(other, 'a'))
  audit.write(START)
  t.notOk(audit.admits())
  for (const descriptor of descriptors) closeSync(descriptor)
  t.equal(readFileSync(other, 'utf8'), '')
  t.match(logged(), /audit-record-after-close/)
  t.end()
})

const pki = await makePki()

async function stage(t: Test, auditFile: string, onError: 'block' | 'continue') {
  const origin = await testOrigin(t, pki)
  const gateway = await testGateway(t, { originCa: pki.caPem, auditFile, onError })
  const requests = () => gateway.records().filter(({ event }) => event === 'request')
  return { origin, headers: { Host: origin.authority }, requests, ...gateway }
}

t.test(
  'with block, what cannot be recorded is refused: no CONNECT is opened',
  { skip: noFull },
  async (t) => {
    const { gateway, origin, logged } = await stage(t, FULL, 'block')
    const { tunnel, status, head, rest } = await connect(gateway.url, origin.authority)
    t.equal(status, 503)
    t.match(
      head,
      /Proxy-Status: upstreamproxy-gateway; error=proxy_internal_error; details="audit-unavailable"/,
    )
    t.match(rest.toString(), /what cannot be recorded is refused/)
    t.equal(await tunnel.closeCode, 1000)
    t.equal(origin.connections.length, 0)
    t.match(logged(), /audit-broken cause=ENOSPC/)
  },
)

t.test('with continue, requests go on without a record', { skip: noFull }, async (t) => {
  const { gateway, origin, headers, logged } = await stage(t, FULL, 'continue')
  const socket = await secure(gateway.url, origin.authority, { ca: gateway.caCertificate })
  t.equal((await exchange(socket, { headers })).status, 200)
  t.equal((await exchange(socket, { headers })).status, 200)
  socket.destroy()
  t.match(logged(), /audit-broken cause=ENOSPC consequence="records may be lost"/)
})

t.test(
  'a sink that breaks later stops the next request, and lets it go on once it is mended',
  { skip: noLimit },
  async (t) => {
    const { gateway, origin, headers, folder, requests } = await stage(t, 'audit.jsonl', 'block')
    const socket = await secure(gateway.url, origin.authority, { ca: gateway.caCertificate })
    t.equal((await exchange(socket, { path: '/1', headers })).status, 200)
    await eventually(() => requests().length === 1)
    limitFiles(t, statSync(join(folder, 'audit.jsonl')).size + 10)
    t.equal(
      (await exchange(socket, { path: '/2', headers })).status,
      200,
      'that it is broken shows at its record',
    )
    await eventually(() => statSync(join(folder, 'audit.jsonl')).size > 0 && origin.requests.length === 2)
    const refused = await exchange(socket, { path: '/3', headers })
    t.equal(refused.status, 503)
    t.match(refused.body, /audit-unavailable/)
    t.equal((await connect(gateway.url, origin.authority)).status, 503)
    t.equal(origin.requests.length, 2, 'what could not be recorded was not forwarded')
    liftLimit()
    t.equal((await exchange(socket, { path: '/4', headers })).status, 200)
    await eventually(() => requests().length === 3)
    t.strictSame(
      requests().map(({ path }) => path),
      ['/1', '/2', '/4'],
      'what was held is there, in order',
    )
    const lost = readFileSync(join(folder, 'audit.jsonl'), 'utf8')
      .split('\n')
      .find((line) => line.includes('"event":"lost"'))
    t.ok(Number(JSON.parse(lost ?? '{}').records) >= 1, 'refusals for its own sake are counted')
    socket.destroy()
  },
)

t.test('closing waits for the records of what it breaks', async (t) => {
  const { gateway, origin, headers, folder } = await stage(t, 'audit.jsonl', 'block')
  const socket = await secure(gateway.url, origin.authority, { ca: gateway.caCertificate })
  await exchange(socket, { headers })
  await gateway.close({ drainMs: 0 })
  const events = linesOf(join(folder, 'audit.jsonl')).map(({ event }) => event)
  t.strictSame(events, ['start', 'request', 'connect', 'stop'])
})
