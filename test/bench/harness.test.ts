/** The benchmark's own tools, small: what they call right is right, and what is wrong they notice. Nothing here is timed. */
import t, { type Test } from 'tap'
import {
  buildPrograms,
  type Gateway,
  missingTools,
  startGateway,
  startParticipant,
  transfer,
} from './harness.js'
import { type Tampering, tamperingRelay } from './tampering-relay.js'

// In CI the tools are promised.
const needs = process.env['CI'] ? {} : { skip: missingTools() ?? false }

t.test('tools and baselines are built, and move 8 MB', needs, async (t) => {
  const programs = buildPrograms()
  const gateway = await startGateway(programs)
  t.teardown(() => gateway.stop())

  for (const scheme of ['ws', 'wss'] as const) {
    for (const name of ['node', 'floor', ...(scheme === 'ws' ? ['copy'] : [])]) {
      t.test(`through ${name} over ${scheme}, up, down and both ways, every byte right`, async (t) => {
        const stage = { programs, gateway, scheme }
        const relay = await startParticipant(name, stage)
        t.teardown(() => relay.stop())
        for (const kind of ['up', 'down', 'both'] as const) {
          // Rejects unless the byte counts and the bytes themselves are right, on both sides.
          const { cpu, throughput } = await transfer({ kind, megabytes: 8, tunnels: 3 }).measure(relay, stage)
          t.ok(cpu > 0 && throughput > 0, `${kind}: ${cpu} s/GB, ${throughput} MB/s`)
        }
      })
    }
  }

  t.test('a relay that tampers with what it carries gets no figure', async (t) => {
    const stage = { programs, gateway, scheme: 'ws' as const }
    for (const kind of ['up', 'down', 'both'] as const) {
      for (const [tampering, complaint] of [
        ['nothing', undefined],
        ['drops one byte', /not those that were sent/],
        ['alters one bit', /not those that were sent/],
        ['doubles one byte', /not those that were sent/],
        ['ends early', /ended after|broke/],
      ] as const) {
        const figure = measureThrough(t, {
          tampering,
          gateway,
          measure: transfer({ kind, megabytes: 1 }).measure,
          stage,
        })
        if (complaint) await t.rejects(figure, { message: complaint }, `${kind}: ${tampering}`)
        else await t.resolves(figure, `${kind}: ${tampering}`)
      }
    }
  })

  t.test('a tunnel’s bytes in another tunnel are noticed', async (t) => {
    const stage = { programs, gateway, scheme: 'ws' as const }
    const { measure } = transfer({ kind: 'up', megabytes: 1, tunnels: 2 })
    await t.rejects(measureThrough(t, { tampering: 'crosses tunnels', gateway, measure, stage }), {
      message: /not those that were sent|ended after|broke/,
    })
  })
})

async function measureThrough(
  t: Test,
  {
    tampering,
    gateway,
    measure,
    stage,
  }: {
    tampering: Tampering
    gateway: Gateway
    measure: ReturnType<typeof transfer>['measure']
    stage: Parameters<ReturnType<typeof transfer>['measure']>[1]
  },
) {
  const relay = await tamperingRelay(gateway.ports.plain, tampering)
  t.teardown(() => relay.close())
  // It runs in this process: that is what is weighed.
  return measure({ pid: process.pid, port: relay.port }, stage)
}
