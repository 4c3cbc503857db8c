/** Moving bytes through a relay and weighing it meanwhile: what several scenarios vary. */
import { openLoad } from '../harness/load.mjs'
import { cpuSeconds } from '../harness/process.mjs'
import { PEERS } from '../peers/peers.mjs'

export const OURS = ['native', 'node', 'native-before', 'before']
export const BULK = [...OURS, 'naive', 'floor', 'copy']
export const PEER_NAMES = Object.keys(PEERS)

const GB = 1024 ** 3

/**
 * `metrics` and `measure` of a case that moves `megabytes` in all through `tunnels` tunnels, in writes (up) and messages
 * (down) of `chunk` bytes. Both ways counts both.
 */
export function transfer({ kind, megabytes, chunk = 64 * 1024, tunnels = 1 }) {
  const ways = kind === 'both' ? 2 : 1
  const bytes = Math.floor((megabytes * 1024 * 1024) / tunnels / ways)
  return {
    metrics: {
      cpu: { unit: 's/GB', better: 'less', text: 'CPU, s/GB' },
      throughput: { unit: 'MB/s', better: 'more', text: 'MB/s' },
    },
    async measure(relay, { programs }) {
      const load = await openLoad(programs, relay.port, { kind, bytes, chunk, tunnels })
      try {
        const before = cpuSeconds(relay.pid)
        load.go()
        const { seconds, bytes: moved } = await load.done()
        const cpu = cpuSeconds(relay.pid) - before
        if (moved !== bytes * tunnels * ways)
          throw new Error(`moved ${moved} bytes of ${bytes * tunnels * ways}`)
        return { cpu: cpu / (moved / GB), throughput: moved / seconds / 1e6 }
      } finally {
        await load.stop()
      }
    },
  }
}
