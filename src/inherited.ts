/**
 * Does the inherited environment lead to a relay of ours that is alive?
 *
 * Rule 1: only loopback is asked, by address: a corporate proxy never hears of it.
 * Rule 2: whatever goes wrong means no.
 */
import { get } from 'node:http'

/** The port of the live relay that HTTPS_PROXY leads to; undefined where there is none. Never rejects. */
export async function inheritedRelay(
  env: Readonly<Record<string, string | undefined>>,
  statusPath: string,
): Promise<number | undefined> {
  const port = /^http:\/\/127\.0\.0\.1:(\d{1,5})\/?$/.exec(
    env['HTTPS_PROXY'] || env['https_proxy'] || '',
  )?.[1]
  if (port === undefined || Number(port) > 65535 || Number(port) === 0) return undefined
  return (await isOurs(Number(port), statusPath)) ? Number(port) : undefined
}

function isOurs(port: number, path: string): Promise<boolean> {
  return new Promise((resolve) => {
    const no = () => resolve(false)
    // No agent: the question goes to that port itself, whatever NODE_USE_ENV_PROXY says.
    const options = {
      host: '127.0.0.1',
      port,
      path,
      agent: false,
      signal: AbortSignal.timeout(DEADLINE_MS),
    } as const
    const request = get(options, (response) => {
      let body = ''
      response.setEncoding('latin1')
      response.on('data', (text: string) => {
        body += text
        if (body.length <= MAX_CHARACTERS) return
        no()
        request.destroy()
      })
      response.on('end', () => resolve(response.statusCode === 200 && isStatusOf(body)))
      response.on('error', no)
      response.on('close', no)
    })
    request.on('error', no)
  })
}

function isStatusOf(body: string): boolean {
  try {
    return (JSON.parse(body) as { name?: unknown } | null)?.name === 'upstreamproxy'
  } catch {
    // Not JSON: somebody else's port.
    return false
  }
}

const DEADLINE_MS = 1_000
const MAX_CHARACTERS = 64 * 1024
