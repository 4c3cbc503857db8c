// Once by hand, too long for the tests: 1 GiB up and 1 GiB down through relay and gateway, by real curl, SHA-256 compared.
//   node scripts/e2e-large.mjs [MIB]        (default: 1024)
import { spawn } from 'node:child_process'
import { createHash } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { Readable } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import { setUp } from './setup.mjs'

setUp()
const { sourceBytes, sourceSha256 } = await import('../gateway/dist-test/e2e/origins/api.js')
const { RELAY_CLI } = await import('../gateway/dist-test/e2e/sandbox.js')
const { startWorld } = await import('../gateway/dist-test/e2e/world.js')

const mib = Number(process.argv[2] ?? 1024)
const bytes = mib * 1024 * 1024
const expected = sourceSha256(bytes)
let failed = false
let relayPeak

// The world of the tests, outside of a test.
const teardowns = []
const world = await startWorld({ teardown: (clear) => teardowns.push(clear), error: console.error })
try {
  await measure('down', async (sandbox) => {
    const { hash } = await curl(sandbox, ['-o', '-', world.url('api', `/source/${bytes}`)])
    return hash
  })
  await measure('up', async (sandbox) => {
    const { text } = await curl(sandbox, ['-T', '-', world.url('api', '/sink')], sourceBytes(bytes))
    return JSON.parse(text).bodySha256
  })
} finally {
  for (const clear of teardowns.reverse()) await clear()
}
process.exitCode = failed ? 1 : 0

async function measure(direction, transfer) {
  const sandbox = world.sandbox()
  const started = performance.now()
  const hash = await transfer(sandbox)
  const seconds = (performance.now() - started) / 1000
  const { requests } = await sandbox.audit({ connects: 1, requests: 1 })
  const recorded = Math.max(requests[0].bytesUp, requests[0].bytesDown)
  const good = hash === expected && recorded === bytes
  failed ||= !good
  const peak = `peak of the relay ${relayPeak} MiB, of the gateway ${peakMib(world.gateway.pid)} MiB`
  console.log(
    `${mib} MiB ${direction}: ${good ? 'SHA-256 and audit agree' : `WRONG: ${hash}, ${recorded} bytes recorded`}, ` +
      `${seconds.toFixed(1)} s, ${(mib / seconds).toFixed()} MiB/s, ${peak}`,
  )
}

// Its output is hashed as it comes and kept only while it is short: no disk, no memory.
async function curl(sandbox, args, input = []) {
  sandbox.issueToken()
  const words = [
    RELAY_CLI,
    'run',
    '--gateway-ca',
    world.organisation.gatewayCaFile,
    '--',
    'curl',
    '-sS',
    '--fail',
    ...args,
  ]
  const child = spawn(process.execPath, words, {
    env: { ...sandbox.env, UPSTREAMPROXY_LOG_LEVEL: 'warn' },
    stdio: ['pipe', 'pipe', 'inherit'],
  })
  const ended = new Promise((resolve) => child.once('exit', resolve))
  const hash = createHash('sha256')
  let text = ''
  const sending = pipeline(Readable.from(input), child.stdin)
  for await (const piece of child.stdout) {
    hash.update(piece)
    if (text.length < 64 * 1024) text += piece.toString('latin1')
    relayPeak = peakMib(child.pid) ?? relayPeak
  }
  await sending
  const status = await ended
  if (status !== 0) throw new Error(`curl ended with ${status}`)
  return { hash: hash.digest('hex'), text }
}

// High-water mark of the resident memory; Linux only.
function peakMib(pid) {
  try {
    const [, kib] = /^VmHWM:\s+(\d+)/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8')) ?? []
    return kib === undefined ? undefined : Math.round(Number(kib) / 1024)
  } catch {
    // No /proc here, or it has ended.
    return undefined
  }
}
