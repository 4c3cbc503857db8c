/** `upstreamproxy --version`: alone, and as JSON with what this machine offers. */

import { VERSION } from '../version.js'
import type { Ending, Io } from './io.js'
import { EXIT } from './io.js'

/** Prints the version; with `json`, the runtime, the platform, and for each capability what serves it, and why. */
export async function version(json: boolean, io: Io): Promise<Ending> {
  if (!json) {
    io.out(`${VERSION}\n`)
    return EXIT.ok
  }
  const { capabilities } = await import('../platform/index.js')
  const document = {
    name: 'upstreamproxy',
    version: VERSION,
    runtime: runtime(),
    platform: `${process.platform}-${process.arch}`,
    capabilities: capabilities(),
  }
  io.out(`${JSON.stringify(document)}\n`)
  return EXIT.ok
}

function runtime(): { name: string; version: string } {
  const bun = process.versions['bun']
  return bun === undefined ? { name: 'node', version: process.versions.node } : { name: 'bun', version: bun }
}
