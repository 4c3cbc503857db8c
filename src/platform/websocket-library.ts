/**
 * `ws`, without the packages that it takes where Node finds them: `bufferutil` and `utf-8-validate`, its optional peers,
 * for which it asks Node. What is installed beside it is what somebody chose; what only Node's global folders have
 * (own-tree.ts) would run here with the token in memory.
 */
import { createRequire } from 'node:module'
import type * as Ws from 'ws'
import { strayPackage } from './own-tree.js'

const PEERS = [
  { name: 'bufferutil', variable: 'WS_NO_BUFFER_UTIL' },
  { name: 'utf-8-validate', variable: 'WS_NO_UTF_8_VALIDATE' },
] as const

/** The library, loaded once. */
export const WebSocket = load()

function load(): typeof Ws.WebSocket {
  const require = createRequire(import.meta.url)
  const strays = PEERS.filter(({ name }) => strayPackage(name, require.resolve('ws')) !== undefined)
  const before = strays.map(({ variable }) => [variable, process.env[variable]] as const)
  // The library's own way of being told to do without. Nothing else runs meanwhile.
  for (const { variable } of strays) process.env[variable] = '1'
  try {
    return require('ws') as typeof Ws.WebSocket
  } finally {
    for (const [variable, value] of before) {
      if (value === undefined) delete process.env[variable]
      else process.env[variable] = value
    }
  }
}
