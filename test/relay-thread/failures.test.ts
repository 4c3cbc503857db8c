/** What goes wrong in the thread never reaches the host (invariant 1). */
import t from 'tap'
import { eventually, within } from '../support/deadline.js'
import { matchWhole } from '../support/match-whole.js'
import { type Host, startHost } from './host.js'

const FAULTY = { thread: new URL('faulty-thread.js', import.meta.url) }

for (const what of ['throw', 'reject']) {
  t.test(`an error that nothing catches (${what}) is a line and a failure, and all goes on`, async (t) => {
    const host = await startHost(t, FAULTY)
    const client = await host.tunnel()
    await host.ask(`provoke('${what}')`)
    await eventually(
      async () => /error: internal-error code=ERR_INTERNAL message="nobody/.test(await host.lines()),
      'told',
    )
    client.write('hello')
    t.equal(String(await client.inbox.read(5)), 'hello')
    matchWhole(t, await host.status(), {
      thread: 'own',
      tunnels: { open: 1 },
      failures: [{ code: 'ERR_INTERNAL' }],
    })
  })
}

t.test('a thread that ends: the log and the status say so, the host and close() do not mind', async (t) => {
  const host = await startHost(t, FAULTY)
  const client = await host.tunnel()
  await host.ask(`provoke('exit')`)
  await isTold(host, /error: relay-thread-failed code=ERR_RELAY_THREAD message=.*status 3/)
  t.match(await client.rest(), { ending: /fin|rst/ })
  matchWhole(t, await host.status(), {
    thread: 'ended',
    port: host.setUp.port,
    tunnels: { open: 0, total: 1 },
    failures: [{ code: 'ERR_RELAY_THREAD' }],
  })
  t.equal(await host.ask('relay.close().then(() => 7)'), 7)
  host.leave()
  t.equal(await within(host.ended, 'the end of the host'), 0)
})

t.test('a thread whose heap is full ends, and the host’s own does not', async (t) => {
  const host = await startHost(t, FAULTY)
  await host.ask(`provoke('fill')`)
  await isTold(
    host,
    /error: relay-thread-failed code=ERR_RELAY_THREAD message=.*memory.* cause=ERR_WORKER_OUT_OF_MEMORY/,
  )
  t.match(await host.status(), { thread: 'ended' })
  t.equal(await host.ask('1 + 1'), 2)
})

t.test('a thread that hangs holds up neither close() nor the end of the host', async (t) => {
  const host = await startHost(t, FAULTY)
  await host.ask(`provoke('hang')`)
  await host.ask('relay.close({ drainMs: 0 })')
  t.match(await host.status(), { thread: 'ended' })
  const other = await startHost(t, FAULTY)
  await other.ask(`provoke('hang')`)
  other.leave()
  t.equal(await within(other.ended, 'the end of the host', 5_000), 0)
})

function isTold(host: Host, line: RegExp): Promise<void> {
  return eventually(async () => line.test(await host.lines()), `told: ${line}`, 60_000)
}
