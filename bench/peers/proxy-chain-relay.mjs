// proxy-chain as a relay: CONNECT from a client becomes CONNECT to the gateway, over TLS. Prints {"port":N}.

import * as https from 'node:https'
import { createRequire } from 'node:module'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'

const { modules, gatewayPort } = JSON.parse(process.argv[2])
const found = createRequire(join(modules, 'package.json')).resolve('proxy-chain')
const { Server } = await import(pathToFileURL(found).href)
// It takes the CONNECT's target for the name of the server that it speaks TLS to, unless the agent says another.
const httpsAgent = new https.Agent({ servername: 'localhost' })
const server = new Server({
  port: 0,
  host: '127.0.0.1',
  prepareRequestFunction: () => ({ upstreamProxyUrl: `https://localhost:${gatewayPort}`, httpsAgent }),
})
await server.listen()
console.log(JSON.stringify({ port: server.port }))
