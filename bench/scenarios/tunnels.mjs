// One tunnel or a thousand: whether a byte costs more when it shares the relay with many others.
import { OURS, transfer } from './transfer.mjs'

export const name = 'tunnels'
export const about = 'CPU s/GB by the number of tunnels that carry it at once, wss'
export const rounds = 9
export const quick = false

const COUNTS = [1, 10, 100, 1000]

export function cases({ quick }) {
  return ['up', 'down'].map((direction) => ({
    id: `tunnels/wss/${direction}`,
    title: `wss, ${direction}`,
    key: { scheme: 'wss', direction },
    scheme: 'wss',
    // The plain ws relay makes a TLS context for each tunnel, which would take minutes for a thousand.
    participants: [...OURS, 'naive-shared', 'floor'],
    metrics: Object.fromEntries(
      COUNTS.map((count) => [`cpu${count}`, { unit: 's/GB', better: 'less', text: `${count}` }]),
    ),
    async measure(relay, stage) {
      const figures = {}
      for (const tunnels of COUNTS) {
        // Enough for each that what a tunnel's beginning and end cost is no part of it.
        const megabytes = (tunnels === 1000 ? 4096 : 512) / (quick ? 4 : 1)
        figures[`cpu${tunnels}`] = (
          await transfer({ kind: direction, megabytes, tunnels }).measure(relay, stage)
        ).cpu
      }
      return figures
    },
  }))
}
