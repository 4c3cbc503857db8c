// One participant of bench/bulk.mjs: a relay as a process of its own. Answers 'cpu' with its CPU seconds so far.
import * as tls from 'node:tls'
import { DEFAULT_LIMITS } from '../dist/limits.js'
import { createLog } from '../dist/log.js'
import { listenRelay } from '../dist/relay/relay.js'
import { Token } from '../dist/token.js'
import { listenNaive } from './naive-relay.mjs'

process.once('message', async ({ kind, url, ca, token, sessionId }) => {
  const port =
    kind === 'naive'
      ? await listenNaive({ url, ca, token, sessionId })
      : await listenOurs(url, ca, token, sessionId)
  process.on('message', () => {
    const { user, system } = process.cpuUsage()
    process.send({ cpu: (user + system) / 1e6 })
  })
  process.send({ port })
})

async function listenOurs(url, ca, token, sessionId) {
  const baseUrl = new URL(url)
  baseUrl.protocol = baseUrl.protocol === 'wss:' ? 'https:' : 'http:'
  baseUrl.pathname = '/'
  const relay = await listenRelay({
    port: 0,
    baseUrl,
    secureContext: ca && tls.createSecureContext({ ca }),
    sessionId,
    token: new Token(token),
    limits: DEFAULT_LIMITS,
    log: createLog({ level: 'warn', format: 'text' }),
  })
  return relay.port
}
