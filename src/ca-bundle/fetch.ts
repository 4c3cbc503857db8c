/**
 * The download of the gateway's CA.
 *
 * Rule 1: one request, straight to the gateway: no proxy of the environment, no redirect, no credential.
 * Rule 2: it ends: within 5 s, and within 1 MiB that is counted while it comes.
 * Rule 3: TLS is verified against the given context, whatever the environment says (invariant 8).
 */
import * as http from 'node:http'
import * as https from 'node:https'
import type { SecureContext } from 'node:tls'
import { codeOf, codeOrText, ProxyError } from '../errors.js'

export interface CaSource {
  readonly baseUrl: URL
  /** below the base URL */
  readonly path: string
  /** trust for TLS to the gateway; needed where the base URL is https */
  readonly secureContext: SecureContext | undefined
}

/**
 * The text that the endpoint answers.
 * @throws ProxyError ERR_CA_FETCH, ERR_CA_TOO_LARGE
 */
export async function fetchCa(source: CaSource, deadlineMs = DEADLINE_MS): Promise<string> {
  const url = new URL(source.baseUrl)
  url.pathname = url.pathname.replace(/\/$/, '') + source.path
  const signal = AbortSignal.timeout(deadlineMs)
  try {
    return await bodyOf(await answerTo(url, source.secureContext, signal))
  } catch (cause) {
    if (cause instanceof ProxyError) throw cause
    if (signal.aborted) throw failed(url, `nothing complete within ${deadlineMs} ms`, cause)
    throw failed(url, reasonOf(cause), cause, hintFor(cause))
  }
}

function answerTo(
  url: URL,
  secureContext: SecureContext | undefined,
  signal: AbortSignal,
): Promise<http.IncomingMessage> {
  return new Promise((resolve, reject) => {
    const options: https.RequestOptions = {
      agent: false,
      signal,
      headers: { accept: 'application/x-pem-file, */*;q=0.1', 'accept-encoding': 'identity' },
      ...(secureContext && { secureContext }),
      rejectUnauthorized: true,
    }
    const request = (url.protocol === 'https:' ? https : http).get(url, options, resolve)
    request.on('error', reject)
    // Such as an answer that switches protocols: no response comes, and no error.
    request.on('close', () => reject(new Error('the connection ended without an answer')))
  })
}

async function bodyOf(response: http.IncomingMessage): Promise<string> {
  try {
    if (response.statusCode !== 200) throw new Error(`expected status 200, got ${response.statusCode}`)
    if (Number(response.headers['content-length'] ?? 0) > MAX_BYTES) throw tooLarge()
    const parts: Buffer[] = []
    let length = 0
    for await (const part of response as AsyncIterable<Buffer>) {
      length += part.length
      if (length > MAX_BYTES) throw tooLarge()
      parts.push(part)
    }
    return Buffer.concat(parts).toString('latin1')
  } finally {
    response.destroy()
  }
}

function tooLarge(): ProxyError {
  return new ProxyError('ERR_CA_TOO_LARGE', `the CA endpoint sent more than ${MAX_BYTES} bytes`)
}

function failed(url: URL, reason: string, cause: unknown, hint?: string): ProxyError {
  return new ProxyError('ERR_CA_FETCH', `GET ${url.href}: ${reason}`, { cause, ...(hint && { hint }) })
}

function reasonOf(cause: unknown): string {
  // Several addresses were tried, and the error of them all together has no text.
  return cause instanceof Error && cause.message !== '' ? cause.message : codeOrText(cause)
}

function hintFor(cause: unknown): string | undefined {
  if (!(cause instanceof Error)) return undefined
  const code = codeOf(cause) ?? ''
  if (/got 30\d$/.test(cause.message)) return 'redirects are not followed: set the final URL'
  if (/SELF_SIGNED|UNABLE_TO_(?:VERIFY|GET_ISSUER)/.test(code))
    return "the gateway's certificate is private: name its CA with --gateway-ca FILE"
  return undefined
}

const DEADLINE_MS = 5_000
const MAX_BYTES = 1024 * 1024
