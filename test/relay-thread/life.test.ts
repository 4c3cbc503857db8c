/** The log, the drain and the ends of a host whose relay has a thread of its own. */
import t from 'tap'
import { eventually, within } from '../support/deadline.js'
import { matchWhole } from '../support/match-whole.js'
import { RawClient } from '../support/raw-client.js'
import { startHost } from './host.js'

t.test(
  'the host’s log function gets the thread’s lines, in the format and to the level asked for',
  async (t) => {
    const host = await startHost(t, { given: { logLevel: 'info', logFormat: 'json' } })
    const client = await host.tunnel()
    client.reset()
    await eventually(async () => (await host.lines()).includes('tunnel-failed'), 'the line')
    const events = (await host.lines())
      .trimEnd()
      .split('\n')
      .map((line) => JSON.parse(line))
    matchWhole(t, events, [
      { level: 'info', event: 'listening', port: host.setUp.port },
      { level: 'info', event: 'tunnel-failed', code: 'ERR_CLIENT_RESET' },
    ])
    t.equal(host.errors(), '', 'and standard error none')
  },
)

t.test('a log function that throws is no matter', async (t) => {
  const host = await startHost(t, { given: { logLevel: 'debug' }, logThrows: true })
  const client = await host.tunnel()
  client.write('hello')
  t.equal(String(await client.inbox.read(5)), 'hello')
})

t.test('lines are stamped when things happen, not when a busy host reads them', async (t) => {
  const host = await startHost(t, { given: { logLevel: 'info', logFormat: 'json' } })
  const client = await host.tunnel()
  const free = host.ask<number>('block(1000), Date.now()')
  client.reset()
  const freeAt = await free
  await eventually(async () => (await host.lines()).includes('tunnel-failed'), 'the line')
  const line = (await host.lines()).split('\n').find((each) => each.includes('tunnel-failed'))
  t.ok(Date.parse(JSON.parse(line ?? '').time) < freeAt - 300)
})

t.test('close lets open tunnels go on, and resolves when they have ended', async (t) => {
  const host = await startHost(t)
  const client = await host.tunnel()
  await host.ask('closed = false; void relay.close({ drainMs: 20000 }).then(() => (closed = true))')
  await eventually(() => refused(host.setUp.port), 'nobody listens any more')
  client.write('hello')
  t.equal(String(await client.inbox.read(5)), 'hello')
  t.equal(await host.ask('closed'), false)
  client.end()
  await eventually(() => host.ask<boolean>('closed'), 'closed')
  t.match(await host.status(), { tunnels: { open: 0, total: 1 }, bytes: { up: 5 } }, 'the counts stay')
  t.equal(await host.ask('relay.close().then(() => 7)'), 7, 'again is nothing more to do')
  host.leave()
  t.equal(await within(host.ended, 'the end of the host'), 0)
})

t.test(
  'close resets what is left when the drain is over, and a second one brings that forward',
  async (t) => {
    const host = await startHost(t)
    const client = await host.tunnel()
    const began = performance.now()
    await host.ask('void relay.close({ drainMs: 60000 }), relay.close({ drainMs: 100 })')
    t.ok(performance.now() - began < 10_000)
    t.match(await client.rest(), { ending: 'rst' })
  },
)

t.test('an open tunnel keeps no host alive that has nothing else to do', async (t) => {
  const host = await startHost(t)
  const client = await host.tunnel()
  host.leave()
  t.equal(await within(host.ended, 'the end of the host', 5_000), 0)
  await client.rest()
})

t.test('process.exit() ends a host at once, whatever goes on in its tunnels', async (t) => {
  for (const engine of ['node', 'auto'] as const) {
    const host = await startHost(t, { given: { engine } })
    const clients = await Promise.all(Array.from({ length: 20 }, () => host.tunnel()))
    // They carry all they can.
    for (const client of clients) {
      client.socket.on('data', () => undefined)
      const more = () => {
        while (!client.socket.destroyed && client.socket.write(Buffer.alloc(64 * 1024)));
      }
      client.socket.on('drain', more)
      more()
    }
    await eventually(async () => (await host.status()).bytes.down > 10_000_000, 'much is carried')
    host.ask('process.exit(7)').catch(() => undefined)
    t.equal(await within(host.ended, 'the end of the host', 5_000), 7, engine)
    t.equal(host.errors(), '')
    await Promise.all(clients.map((client) => within(client.ending, 'the end of a client’s connection')))
  }
})

t.test('two relays, each in its thread, know nothing of each other', async (t) => {
  const [one, two] = await Promise.all([startHost(t), startHost(t)])
  await one.tunnel()
  t.match(await one.status(), { tunnels: { total: 1 } })
  t.match(await two.status(), { tunnels: { total: 0 } })
})

async function refused(port: number): Promise<boolean> {
  try {
    const client = await RawClient.connect(port)
    client.socket.destroy()
    return false
  } catch {
    return true
  }
}
