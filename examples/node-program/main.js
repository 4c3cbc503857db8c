// A program that sets the relay up itself: its own requests go through the gateway, and those of what it starts.
//
//   node main.js https://api.payments.example/v1/balance git clone https://git.acme.example/project.git
//
// Outside a sandbox (the variables that switch the proxy on are not set) it does the same without.
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import { get } from 'node:https'
import { text } from 'node:stream/consumers'
import { HttpsProxyAgent } from 'https-proxy-agent'
import { initUpstreamProxy } from 'upstreamproxy'

const [url, command, ...args] = process.argv.slice(2)

// Never throws. The environment of this process stays as it is; `proxy.env` is the one for children.
const proxy = await initUpstreamProxy()
console.error(proxy.enabled ? `relay on port ${proxy.port}` : `without a relay: ${proxy.reason}`)

// This process was started before the proxy was there, so it has to be told: an agent, and whom to believe.
const { HTTPS_PROXY, SSL_CERT_FILE } = proxy.env
const options = {
  ...(HTTPS_PROXY && { agent: new HttpsProxyAgent(HTTPS_PROXY) }),
  ...(SSL_CERT_FILE && { ca: readFileSync(SSL_CERT_FILE) }),
}
const [response] = await once(get(url, options), 'response')
console.log(response.statusCode, await text(response))

// Programs that are started with it need nothing more.
if (command !== undefined) {
  const child = spawn(command, args, { env: proxy.env, stdio: 'inherit' })
  const [status] = await once(child, 'exit')
  process.exitCode = status ?? 1
}

// Open tunnels get a moment to finish.
if (proxy.enabled) await proxy.close()
