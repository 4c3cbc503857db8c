/** What the demo needs around the client: an origin, a gateway, and a sandbox, in one temporary folder. */
import { randomBytes } from 'node:crypto'
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { caSigner, issueLeaf, makeCaKey, selfSign } from '../certificates.js'
import { createLog, type Gateway, loadConfig, startGateway } from '../index.js'
import { type DemoOrigin, startDemoOrigin } from './origin.js'

export const HOST = 'api.example.test'
export const SESSION_ID = 'demo-session'

export interface Stage {
  readonly folder: string
  /** what the client asks for */
  readonly url: string
  readonly origin: DemoOrigin
  readonly gateway: Gateway
  /** of the gateway, as it is written */
  readonly auditFile: string
  /** what the gateway has logged so far */
  gatewayLog(): string
  /** holds secrets that only one side may know, by what they are */
  readonly secrets: { readonly key: string; readonly token: string }
  readonly sandbox: {
    readonly home: string
    readonly tokenFile: string
    /** all that `upstreamproxy run` starts with */
    readonly env: Readonly<Record<string, string>>
    /** words before those of `run`'s command */
    readonly run: readonly [program: string, ...args: string[]]
    /** writes the token file, which `run` removes */
    issueToken(): void
  }
  /** Ends what was started and removes the folder; the second time it does nothing. */
  clear(): Promise<void>
}

/** Sets it up on loopback, at free ports. What was begun is cleared where it fails. */
export async function setStage(): Promise<Stage> {
  const folder = mkdtempSync(join(tmpdir(), 'upstreamproxy-demo-'))
  const closing: (() => Promise<void>)[] = []
  const clear = async () => {
    for (const close of closing.splice(0).reverse()) await close()
    rmSync(folder, { recursive: true, force: true })
  }
  try {
    return await fill(folder, closing, clear)
  } catch (error) {
    await clear()
    throw error
  }
}

async function fill(
  folder: string,
  closing: (() => Promise<void>)[],
  clear: () => Promise<void>,
): Promise<Stage> {
  const secrets = {
    key: `acme-${randomBytes(18).toString('hex')}`,
    token: randomBytes(24).toString('base64url'),
  }
  const organisation = join(folder, 'organisation')
  const home = join(folder, 'sandbox')
  mkdirSync(organisation)
  mkdirSync(home)
  const [forOrigin, forGateway] = await Promise.all([makeServerPair(HOST), makeServerPair('127.0.0.1')])

  const origin = await startDemoOrigin(forOrigin, secrets.key)
  closing.push(() => origin.close())

  const write = (name: string, text: string) => writeFileSync(join(organisation, name), text, { mode: 0o600 })
  write('origin-ca.pem', forOrigin.caPem)
  write('gateway.pem', forGateway.cert)
  write('gateway.key', forGateway.key)
  write('gateway.yaml', CONFIG)
  let gatewayLog = ''
  const log = createLog({
    write: (line) => {
      gatewayLog += line
    },
  })
  // The secrets are in an environment of the gateway's alone, which no process has.
  const config = loadConfig(join(organisation, 'gateway.yaml'), {
    SESSION_TOKEN: secrets.token,
    ACME_API_KEY: secrets.key,
  })
  const gateway = await startGateway(config, { log })
  closing.push(() => gateway.close({ drainMs: 0 }))

  const gatewayCa = join(home, 'gateway-ca.pem')
  writeFileSync(gatewayCa, forGateway.caPem)
  const tokenFile = join(home, 'session_token')
  return {
    folder,
    url: `https://${HOST}:${origin.port}/v1/hello?name=ada`,
    origin,
    gateway,
    auditFile: config.audit.file,
    gatewayLog: () => gatewayLog,
    secrets,
    sandbox: {
      home,
      tokenFile,
      env: {
        ...passedOn(process.env),
        HOME: home,
        CLAUDE_CODE_REMOTE: '1',
        CCR_UPSTREAM_PROXY_ENABLED: '1',
        CLAUDE_CODE_REMOTE_SESSION_ID: SESSION_ID,
        CCR_UPSTREAM_PROXY_BASE_URL: gateway.url,
        UPSTREAMPROXY_TOKEN_FILE: tokenFile,
        UPSTREAMPROXY_GATEWAY_CA: gatewayCa,
      },
      run: [process.execPath, relayCli(), 'run', '--'],
      issueToken: () => writeFileSync(tokenFile, `${secrets.token}\n`, { mode: 0o600 }),
    },
    clear,
  }
}

/** the rule that adds the key, as it stands in the configuration */
export const RULE = [
  `match: { host: ${HOST}, path: "/v1/**", methods: [GET, POST] }`,
  `set: { authorization: "Bearer \${secret:api-key}" }`,
] as const

const CONFIG = `
listen: 127.0.0.1:0
tls: { cert: gateway.pem, key: gateway.key }
upstream: { caFile: origin-ca.pem, allowAddresses: [127.0.0.0/8], hosts: { ${HOST}: 127.0.0.1 } }
audit: { file: audit.jsonl }
sessions:
  - { id: ${SESSION_ID}, token: { env: SESSION_TOKEN }, org: acme }
orgs:
  acme:
    default: deny
    secrets: { api-key: { env: ACME_API_KEY } }
    rules:
      - ${RULE.join('\n        ')}
`

// A certificate for one host, under a CA of its own.
async function makeServerPair(host: string) {
  const caKey = await makeCaKey()
  const caPem = await selfSign(caKey)
  const { cert, key } = await issueLeaf(await caSigner(caPem, caKey), host)
  return { cert, key, caPem }
}

// A proxy or a CA of the machine's own would be another story.
function passedOn(env: NodeJS.ProcessEnv): Record<string, string> {
  const names = ['PATH', 'LANG', 'LC_ALL', 'TZ', 'TMPDIR', 'LD_LIBRARY_PATH']
  return Object.fromEntries(names.flatMap((name) => (env[name] === undefined ? [] : [[name, env[name]]])))
}

function relayCli(): string {
  const manifest = fileURLToPath(import.meta.resolve('upstreamproxy/package.json'))
  const { bin } = JSON.parse(readFileSync(manifest, 'utf8')) as { bin: { upstreamproxy: string } }
  const cli = join(dirname(manifest), bin.upstreamproxy)
  if (!existsSync(cli)) throw new Error(`${cli} is not there: has the project been built (npm run build)?`)
  return cli
}
