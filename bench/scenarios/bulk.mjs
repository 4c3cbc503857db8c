// Bulk transfer through one tunnel, up, down and both ways at once, by ws and wss: the relay's own CPU seconds per GB
// that it carried, and what it carried a second.
import { BULK, PEER_NAMES, transfer } from './transfer.mjs'

export const name = 'bulk'
export const about = 'CPU per GB and throughput of one tunnel: up, down, both; ws and wss'
export const rounds = 9

export function cases({ quick }) {
  return ['wss', 'ws'].flatMap((scheme) =>
    (quick ? ['up', 'down'] : ['up', 'down', 'both']).map((direction) => ({
      id: `bulk/${scheme}/${direction}`,
      title: `${scheme}, ${direction}`,
      key: { scheme, direction },
      scheme,
      participants: [...BULK, ...PEER_NAMES],
      ...transfer({ kind: direction, megabytes: quick ? 64 : 768 }),
    })),
  )
}
