// A host program that calls initUpstreamProxy and has work of its own: told `block`, it keeps its main thread busy for 500 ms
// of every second; told `calm`, it does not. Prints {"port":N}, or {"absent":"why"}.
//   node host.mjs '{"url":…,"caFile":…,"options":{…},"dist":FOLDER,"folder":SCRATCH}'
import { mkdtempSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { pathToFileURL } from 'node:url'

const { url, caFile, options, dist, folder } = JSON.parse(process.argv[2])
const { initUpstreamProxy } = await import(new URL('index.js', pathToFileURL(`${dist}/`)).href)
const scratch = mkdtempSync(join(folder, 'host-'))
const tokenFile = join(scratch, 'token')
writeFileSync(tokenFile, 't\n', { mode: 0o600 })
Object.assign(process.env, { CLAUDE_CODE_REMOTE: '1', CCR_UPSTREAM_PROXY_ENABLED: '1' })
const given = {
  baseUrl: url,
  gatewayCa: caFile,
  sessionId: 's',
  tokenFile,
  caBundle: join(scratch, 'bundle.crt'),
  // The harness reads this process's figures in /proc as any other's.
  hardening: 'off',
  ...options,
}
const lines = []
const proxy = await initUpstreamProxy({ ...given, log: (line) => lines.push(line) })
if (!proxy.enabled) {
  console.log(JSON.stringify({ absent: `${proxy.reason}: ${lines.join(' ').trim()}` }))
  process.exit()
}
console.log(JSON.stringify({ port: proxy.port }))

let blocking = false
setInterval(() => {
  const until = performance.now() + 500
  while (blocking && performance.now() < until);
}, 1000)
createInterface({ input: process.stdin })
  .on('line', (line) => {
    blocking = line === 'block'
  })
  .on('close', () => process.exit())
