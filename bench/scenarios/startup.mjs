// A relay from nothing: until it listens, its first tunnel, and what it holds then.
import { openLoad } from '../harness/load.mjs'
import { residentBytes } from '../harness/process.mjs'
import { OURS, PEER_NAMES } from './transfer.mjs'

export const name = 'startup'
export const about =
  'process start to listening, the first CONNECT of its life, and its resident memory after it'
export const rounds = 9

export function cases() {
  return [
    {
      id: 'startup/wss',
      title: 'wss',
      key: { scheme: 'wss' },
      scheme: 'wss',
      fresh: true,
      participants: [...OURS, 'host', 'host-thread', 'naive', 'floor', ...PEER_NAMES],
      metrics: {
        start: { unit: 'ms', better: 'less', text: 'listens, ms' },
        first: { unit: 'ms', better: 'less', text: 'first CONNECT, ms' },
        resident: { unit: 'MB', better: 'less', text: 'resident, MB' },
      },
      async measure(relay, { programs }) {
        const load = await openLoad(programs, relay.port, { kind: 'connect', connects: 1 })
        try {
          load.go()
          const { firstByte } = await load.done()
          const resident = residentBytes(relay.pid) / 1024 / 1024
          return { start: relay.startMs, first: firstByte.p50 / 1000, resident }
        } finally {
          await load.stop()
        }
      },
    },
  ]
}
