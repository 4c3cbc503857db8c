// What a thread of its own costs per byte (what it costs at start is in startup).
import { transfer } from './transfer.mjs'

export const name = 'thread'
export const about =
  'CPU per GB of a relay in a host program, in its main thread and in a thread of its own; wss'
export const rounds = 9

export function cases({ quick }) {
  return ['up', 'down'].map((direction) => ({
    id: `thread/wss/${direction}`,
    title: `wss, ${direction}`,
    key: { scheme: 'wss', direction },
    scheme: 'wss',
    participants: ['host', 'host-thread'],
    ...transfer({ kind: direction, megabytes: quick ? 64 : 256 }),
  }))
}
