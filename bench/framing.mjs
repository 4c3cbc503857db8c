// Framing by the addon beside framing in TypeScript: a frame made in place around a payload of each size. The figures say
// from which size on calling is worth it.
import { createRequire } from 'node:module'
import { typescriptFraming } from '../dist/wire/framing.js'
import { pairs, row } from './pairs.mjs'

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
    return () => cpu(bytes, () => framing.encodeFrameInto(arena, HEADROOM, bytes, 0x12345678))
  }
  row(`a frame of ${size(bytes)}`, await pairs(PAIRS, encode(native), encode(typescriptFraming)))
}

// Own CPU time, user and system, scaled to one gigabyte.
function cpu(bytes, work) {
  const rounds = (MB * 1024 * 1024) / bytes
  const before = process.cpuUsage()
  for (let i = 0; i < rounds; i++) work()
  const { user, system } = process.cpuUsage(before)
  return ((user + system) / 1e6) * (1024 / MB)
}

function size(bytes) {
  return bytes < 1024 ? `${bytes} B` : `${bytes / 1024} KiB`
}
