// What masking and framing a chunk costs: ours (one buffer, whole words) beside what `ws` does without a native
// helper and with `bufferutil` (installed into a temporary folder for the run). Prints a Markdown table.
import { spawnSync } from 'node:child_process'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { encodeChunk } from '../dist/wire/chunk.js'
import { encodeChunkFrame } from '../dist/wire/client-frame.js'
import { cpuPerGb, pairs, row } from './pairs.mjs'

const MB = 64
const PAIRS = 11
const wsFolder = createRequire(import.meta.url)
  .resolve('ws')
  .replace(/index\.js$/, '')
const scratch = mkdtempSync(join(tmpdir(), 'masking-'))
try {
  const native = bufferUtil()
  const plain = createRequire(import.meta.url)(join(wsFolder, 'lib/buffer-util.js'))
  console.log(`Node ${process.version}, CPU seconds per GB (A: ours, B: the other)\n`)
  console.log('| payload, against | A | B | ratio A/B (spread) |')
  console.log('|---|---|---|---|')
  for (const bytes of [1024, 16 * 1024, 64 * 1024, 256 * 1024]) {
    const payload = Buffer.alloc(bytes, 0x61)
    const ours = () => cpuPerGb(MB, bytes, () => encodeChunkFrame(payload, 0x12345678))
    row(
      `${bytes / 1024} KiB, ws alone`,
      await pairs(PAIRS, ours, () => cpuPerGb(MB, bytes, () => theirs(payload, mask(plain.mask)))),
    )
    if (native) {
      row(
        `${bytes / 1024} KiB, ws + bufferutil`,
        await pairs(PAIRS, ours, () => cpuPerGb(MB, bytes, () => theirs(payload, native.mask))),
      )
    }
  }
  if (!native) console.log('\nbufferutil could not be installed here: its rows are missing.')
} finally {
  rmSync(scratch, { recursive: true, force: true })
}

// `ws` picks the native helper up by itself where it is installed; here only the loop is wanted.
function mask(fallback) {
  return (source, key, output, offset, length) => {
    for (let i = 0; i < length; i++) output[offset + i] = source[i] ^ key[i & 3]
    return fallback
  }
}

function theirs(payload, xor) {
  const message = encodeChunk(payload)
  const key = Buffer.from([0x78, 0x56, 0x34, 0x12])
  const target = Buffer.allocUnsafe(14)
  xor(message, key, message, 0, message.length)
  return [target, message]
}

function bufferUtil() {
  writeFileSync(join(scratch, 'package.json'), '{ "private": true }\n')
  spawnSync('npm', ['install', '--no-audit', '--no-fund', '--loglevel=error', 'bufferutil@4'], {
    cwd: scratch,
    stdio: 'ignore',
  })
  try {
    return createRequire(join(scratch, 'package.json'))('bufferutil')
  } catch {
    return undefined // no compiler and no prebuilt binary for this machine
  }
}
