// Framing by the addon beside framing in TypeScript: a frame made in place around a payload of each size. The figures say
// from which size on calling is worth it.
import { createRequire } from 'node:module'
import { typescriptFraming } from '../dist/wire/framing.js'
import { cpuPerGb, pairs, row } from './pairs.mjs'

const MB = 64
const PAIRS = 11
const HEADROOM = 20
const { framing: native } = createRequire(import.meta.url)(
  `../prebuilds/${process.platform}-${process.arch}/upstreamproxy.node`,
)

console.log(`Node ${process.version}, CPU seconds per GB (A: the addon, B: TypeScript)\n`)
console.log('| what | A | B | ratio A/B (spread) |')
console.log('|---|---|---|---|')
for (const bytes of [64, 1024, 16 * 1024, 64 * 1024, 256 * 1024]) {
  const encode = (framing) => {
    const arena = Buffer.alloc(HEADROOM + bytes, 0x61)
    return () => cpuPerGb(MB, bytes, () => framing.encodeFrameInto(arena, HEADROOM, bytes, 0x12345678))
  }
  row(`a frame of ${size(bytes)}`, await pairs(PAIRS, encode(native), encode(typescriptFraming)))
}

function size(bytes) {
  return bytes < 1024 ? `${bytes} B` : `${bytes / 1024} KiB`
}
