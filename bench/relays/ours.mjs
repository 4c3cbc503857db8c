// Our relay as a process of its own, one engine of it. Prints {"port":N}, or {"absent":"why"}.
//   node ours.mjs '{"url":…,"caFile":…,"engine":"node","relay":{…},"limits":{…},"dist":FOLDER}'
import { readFileSync } from 'node:fs'
import * as tls from 'node:tls'
import { pathToFileURL } from 'node:url'

const settings = JSON.parse(process.argv[2])
const part = (name) => import(new URL(name, pathToFileURL(`${settings.dist}/`)).href)
const { DEFAULT_LIMITS } = await part('limits.js')
const { createLog } = await part('log.js')
const { parseOptions } = await part('options.js')
const { listenRelay } = await part('relay/relay.js')
const { Token } = await part('token.js')

const { engine, relay: more = {}, limits = {}, caFile } = settings
const unknown = Object.keys(more).find((name) => !knows(name))
if (unknown) {
  console.log(JSON.stringify({ absent: `this build has no option ${unknown}` }))
} else {
  const baseUrl = new URL(settings.url)
  try {
    const relay = await listenRelay({
      port: 0,
      baseUrl,
      secureContext:
        baseUrl.protocol === 'https:' ? tls.createSecureContext({ ca: readFileSync(caFile) }) : undefined,
      sessionId: 's',
      token: new Token('t'),
      limits: { ...DEFAULT_LIMITS, ...limits },
      log: createLog({ level: 'warn', format: 'text' }),
      engine,
      ...more,
    })
    const used = relay.status().engine
    if (used === engine) {
      console.log(JSON.stringify({ port: relay.port }))
      process.stdin.resume()
      process.stdin.once('end', () => process.exit())
    } else {
      console.log(JSON.stringify({ absent: `this build has the engine ${used}, not ${engine}` }))
      process.exit()
    }
  } catch (error) {
    console.log(JSON.stringify({ absent: error.message }))
    process.exit()
  }
}

// An option of the relay's is one of the product's; a build from before it says so.
function knows(name) {
  try {
    parseOptions({ [name]: more[name] }, {})
    return true
  } catch {
    return false
  }
}
