/** Where bench:peers puts the relays that others made, and which versions of them. */
import { join } from 'node:path'
import { cache } from '../harness/build.mjs'

export const peersFolder = join(cache, 'peers')

export const PROXY_CHAIN = {
  spec: 'proxy-chain@3.0.1',
  folder: join(peersFolder, 'proxy-chain'),
  manifest: 'node_modules/proxy-chain/package.json',
}
export const WSTUNNEL = { spec: ['wstunnel'], program: join(peersFolder, 'cargo/bin/wstunnel') }
export const CHISEL = { spec: 'github.com/jpillora/chisel@latest', program: join(peersFolder, 'go/chisel') }
