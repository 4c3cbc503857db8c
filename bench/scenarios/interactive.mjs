// A tunnel in which little is said and an answer waited for, beside tunnels that carry all they can.
import { openLoad } from '../harness/load.mjs'
import { OURS, PEER_NAMES } from './transfer.mjs'

export const name = 'interactive'
export const about = 'ping-pong of 64 bytes every 2 ms, beside bulk tunnels (half of them up, half down), wss'
export const rounds = 5
export const quickRounds = 1

export function cases({ quick }) {
  return (quick ? [4] : [0, 1, 4]).map((bulk) => ({
    id: `interactive/wss/${bulk}`,
    title: `beside ${bulk} bulk`,
    key: { scheme: 'wss', bulk },
    scheme: 'wss',
    warmUp: false,
    participants: [...OURS, 'naive', 'floor', ...PEER_NAMES],
    metrics: {
      p99: { unit: 'ms', better: 'less', text: 'p99, ms' },
      p50: { unit: 'ms', better: 'less', text: 'p50, ms' },
      max: { unit: 'ms', better: 'less', text: 'max, ms' },
      bulk: { unit: 'MB/s', better: 'more', text: 'bulk, MB/s' },
    },
    measure: (relay, { programs }) => pingPong(programs, relay, { bulk, seconds: quick ? 2 : 3 }),
  }))
}

async function pingPong(programs, relay, { bulk, seconds }) {
  const loads = []
  const open = async (settings) => {
    const load = await openLoad(programs, relay.port, settings)
    loads.push(load)
    return load
  }
  try {
    const interactive = await open({ kind: 'echo', message: 64, 'pause-us': 2000, 'on-schedule': 1, seconds })
    const down = Math.ceil(bulk / 2)
    const beside = []
    if (down > 0) beside.push(await open({ kind: 'down', tunnels: down, endless: 1 }))
    if (bulk - down > 0) beside.push(await open({ kind: 'up', tunnels: bulk - down, endless: 1 }))
    for (const load of beside) load.go()
    // Until the bulk tunnels are at their speed.
    await new Promise((resolve) => setTimeout(resolve, 300))
    interactive.go()
    const { rounds } = await interactive.done()
    const carried = await Promise.all(beside.map((load) => load.finish()))
    const bytes = carried.reduce((sum, one) => sum + one.bytes, 0)
    return {
      p99: rounds.p99 / 1000,
      p50: rounds.p50 / 1000,
      max: rounds.max / 1000,
      bulk: bulk === 0 ? 0 : bytes / carried[0].seconds / 1e6,
    }
  } finally {
    for (const load of loads) await load.stop()
  }
}
