// What a tunnel costs that carries nothing: resident memory of the relay process, before and after it has them.
import { openLoad } from '../harness/load.mjs'
import { residentBytes } from '../harness/process.mjs'
import { OURS } from './transfer.mjs'

export const name = 'idle'
export const about = 'resident memory of the relay process by idle tunnel'
export const rounds = 3
export const quickRounds = 1

export function cases({ quick }) {
  const counts = quick ? [1000] : [1000, 5000]
  return (quick ? ['wss'] : ['wss', 'ws']).flatMap((scheme) =>
    counts.map((tunnels) => ({
      id: `idle/${scheme}/${tunnels}`,
      title: `${scheme}, ${tunnels}`,
      key: { scheme, tunnels },
      scheme,
      fresh: true,
      stage: { limits: { maxTunnels: 10_000 } },
      participants: [
        ...OURS,
        'naive-shared',
        ...(scheme === 'ws' ? ['naive'] : []),
        'floor',
        'nginx',
        'haproxy',
        'bun',
      ],
      metrics: {
        perTunnel: { unit: 'KB', better: 'less', text: 'KB a tunnel' },
        total: { unit: 'MB', better: 'less', text: 'MB in all' },
      },
      measure: (relay, { programs }) => weigh(programs, relay, tunnels),
    })),
  )
}

async function weigh(programs, relay, tunnels) {
  const before = residentBytes(relay.pid)
  const load = await openLoad(programs, relay.port, { kind: 'echo', tunnels })
  try {
    const after = await settled(relay.pid)
    return { perTunnel: (after - before) / tunnels / 1024, total: after / 1024 / 1024 }
  } finally {
    await load.stop()
  }
}

// Once it has not changed by a hundredth for two seconds, or after ten.
async function settled(pid) {
  let last = residentBytes(pid)
  for (let waited = 0; waited < 10; waited += 2) {
    await new Promise((resolve) => setTimeout(resolve, 2000))
    const now = residentBytes(pid)
    if (Math.abs(now - last) < last / 100) return now
    last = now
  }
  return last
}
