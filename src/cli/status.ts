/** `upstreamproxy status`: asks a relay for its status document and shows it. */
import { get } from 'node:http'
import { codeOf, ProxyError } from '../errors.js'
import { type RelayStatus, STATUS_PATH } from '../relay/status.js'
import type { StatusInvocation } from './arguments.js'
import { type Ending, EXIT, type Io } from './io.js'
import { readableStatus } from './status-text.js'

/**
 * Shows the document: exit status 0; or says why it cannot: 69.
 * @throws ProxyError ERR_OPTION for a --url that is not one
 */
export async function status({ url, json }: StatusInvocation, io: Io): Promise<Ending> {
  const relay = url === undefined ? relayOfEnvironment(io.env) : relayAt(url)
  if (typeof relay === 'string') {
    io.err(`upstreamproxy: ${relay}\n  hint: upstreamproxy status --url http://127.0.0.1:PORT\n`)
    return EXIT.unavailable
  }
  try {
    const document = await ask(relay)
    io.out(json || !io.outIsTerminal ? `${JSON.stringify(document)}\n` : readableStatus(document, io.colour))
    return EXIT.ok
  } catch (error) {
    io.err(`upstreamproxy: no relay answers at ${relay.origin}: ${reasonOf(error)}\n`)
    return EXIT.unavailable
  }
}

// The relay that clients here are led to; where there is none, why.
function relayOfEnvironment(env: NodeJS.ProcessEnv): URL | string {
  const value = env['HTTPS_PROXY'] || env['https_proxy']
  if (!value) return 'HTTPS_PROXY is not set: nothing leads from here to a relay'
  const url = URL.canParse(value) ? new URL(value) : undefined
  if (url?.protocol === 'http:' && LOOPBACK.test(url.hostname)) return url
  return 'HTTPS_PROXY does not lead to loopback: it is not a relay of upstreamproxy'
}

function relayAt(text: string): URL {
  const whole = text.includes('://') ? text : `http://${text}`
  const url = URL.canParse(whole) ? new URL(whole) : undefined
  if (url?.protocol === 'http:') return url
  throw new ProxyError('ERR_OPTION', `--url expects http://127.0.0.1:PORT, and got ${JSON.stringify(text)}`)
}

// Rejects with a reason that a person can read.
function ask(relay: URL): Promise<RelayStatus> {
  return new Promise((resolve, reject) => {
    // No agent: the question goes to the relay itself, whatever NODE_USE_ENV_PROXY says.
    const options = { agent: false, signal: AbortSignal.timeout(ANSWER_MS) } as const
    const request = get(new URL(STATUS_PATH, relay), options, (response) => {
      let body = ''
      response.setEncoding('utf8')
      response.on('data', (text: string) => {
        body += text
        if (body.length > MAX_BODY) request.destroy(new Error('its answer is too long'))
      })
      response.on('error', reject)
      response.on('end', () => {
        const document = response.statusCode === 200 ? statusIn(body) : undefined
        if (document === undefined) reject(new Error('something else listens there'))
        else resolve(document)
      })
    })
    request.on('error', reject)
  })
}

function statusIn(body: string): RelayStatus | undefined {
  try {
    const document = JSON.parse(body, (_, value) => (typeof value === 'string' ? printable(value) : value))
    const complete =
      'version' in document && document.tunnels && document.bytes && Array.isArray(document.failures)
    return document.name === 'upstreamproxy' && complete ? document : undefined
  } catch {
    // Neither JSON nor an object: not a relay's answer.
    return undefined
  }
}

// Whatever listens there, it does not get to steer the terminal.
function printable(text: string): string {
  return text.replace(/\p{Cc}/gu, '')
}

function reasonOf(error: unknown): string {
  if (!(error instanceof Error)) return String(error)
  if (error.name === 'AbortError') return `nothing within ${ANSWER_MS / 1000} s`
  if (codeOf(error) === 'ECONNREFUSED') return 'the connection is refused (has it ended?)'
  return printable(error.message)
}

const LOOPBACK = /^(?:localhost|127(?:\.\d{1,3}){3}|\[::1\])$/
const ANSWER_MS = 5_000
const MAX_BODY = 1024 * 1024
