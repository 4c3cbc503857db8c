/** What the thread is for: a host program whose main thread is busy. */
import t from 'tap'
import { longestRoundMs, startHost } from './host.js'

const BLOCK = 'void setInterval(() => block(500), 1000)'

t.test('a host that is busy for 500 ms of every second does not hold up a tunnel', async (t) => {
  const host = await startHost(t)
  const client = await host.tunnel()
  await host.ask(BLOCK)
  const longest = await longestRoundMs(client, 2_500)
  t.ok(longest < 250, `no round took longer than ${Math.round(longest)} ms`)
})

t.test('without a thread it does: the experiment can fail', async (t) => {
  const host = await startHost(t, { given: { relay: { thread: false } } })
  const client = await host.tunnel()
  await host.ask(BLOCK)
  const longest = await longestRoundMs(client, 2_500)
  t.ok(longest > 400, `a round took ${Math.round(longest)} ms`)
})

t.test('tunnels are opened, fail and are refused as well while the host is busy', async (t) => {
  const host = await startHost(t)
  const busy = host.ask('block(3000)')
  const began = performance.now()
  const client = await host.tunnel()
  client.write('hello')
  t.equal(String(await client.inbox.read(5)), 'hello')
  client.end()
  t.match(await client.rest(), { ending: 'fin' })
  t.ok(performance.now() - began < 2_000, 'while it was')
  await busy
})

t.test('the status is up to date in a turn of the host that lets nothing else in', async (t) => {
  const host = await startHost(t)
  const client = await host.tunnel()
  const asked = host.ask<[number, number][]>(
    `[0, 1].map(() => { block(700); const { tunnels, bytes } = relay.status(); return [tunnels.open, bytes.up] })`,
  )
  const message = Buffer.alloc(1000)
  const end = performance.now() + 1_200
  let sent = 0
  while (performance.now() < end) {
    client.write(message)
    await client.inbox.read(message.length)
    sent += message.length
  }
  const [first, second] = await asked
  t.same([first![0], second![0]], [1, 1])
  t.ok(first![1] > 0 && first![1] < second![1], `${first![1]} bytes, then ${second![1]}`)
  t.match(await host.status(), { bytes: { up: sent }, thread: 'own', port: host.setUp.port })
})

t.test(
  'a child that the host waits for in spawnSync gets through; without a thread it never would',
  async (t) => {
    const waitForChild = async (thread: boolean) => {
      const host = await startHost(t, { given: { relay: { thread } } })
      return host.ask<string>(`childThrough(${host.setUp.port}, 3000)`)
    }
    t.match(await waitForChild(true), /^HTTP\/1\.1 200 /)
    t.equal(await waitForChild(false), 'ETIMEDOUT', 'the experiment can fail')
  },
)
