/**
 * An API for clients that want answers about themselves:
 *   GET  /source/BYTES   so many bytes, always the same
 *   GET  /stall/BYTES    promises twice as many bytes as it sends, and then waits for ever
 *   GET  /hold/…         answers like the rest, but only once `release` is called
 *   *    …               JSON: method, path, header names, length and SHA-256 of the body
 *
 * Header values are never sent back: an answer must be searchable for leaked secrets.
 */
import { createCipheriv, createHash } from 'node:crypto'
import type { IncomingMessage, ServerResponse } from 'node:http'
import { Readable } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import type { Test } from 'tap'
import { type Origin, startOrigin } from './origin.js'

export interface Api extends Origin {
  /** lets the requests under /hold/ have their answers */
  release(): void
}

/** What the API says of a request. */
export interface Echo {
  readonly method: string
  readonly path: string
  /** lower case, sorted */
  readonly headerNames: readonly string[]
  readonly bodyBytes: number
  readonly bodySha256: string
}

export async function startApi(t: Test, pair: { certPem: string; keyPem: string }): Promise<Api> {
  let release: () => void = () => undefined
  const released = new Promise<void>((resolve) => {
    release = resolve
  })
  const origin = await startOrigin(t, pair, async (request, response, { path }) => {
    const [, place, count] = path.split('/')
    if (place === 'source') return send(response, Number(count), Number(count))
    if (place === 'stall') return send(response, Number(count), 2 * Number(count))
    if (place === 'hold') await released
    const answer = Buffer.from(`${JSON.stringify(await describe(request))}\n`)
    response.setHeader('content-type', 'application/json')
    response.setHeader('content-length', answer.length)
    response.end(answer)
  })
  return { ...origin, release }
}

/** The bytes of /source/BYTES: the key stream of AES-256-CTR under a key of zeros. */
export function* sourceBytes(bytes: number): Generator<Buffer> {
  const stream = createCipheriv('aes-256-ctr', Buffer.alloc(32), Buffer.alloc(16))
  const zeros = Buffer.alloc(64 * 1024)
  for (let left = bytes; left > 0; left -= zeros.length) {
    yield stream.update(left < zeros.length ? zeros.subarray(0, left) : zeros)
  }
}

/** SHA-256 of /source/BYTES, in hex. */
export function sourceSha256(bytes: number): string {
  const hash = createHash('sha256')
  for (const piece of sourceBytes(bytes)) hash.update(piece)
  return hash.digest('hex')
}

async function send(response: ServerResponse, bytes: number, promised: number): Promise<void> {
  response.setHeader('content-type', 'application/octet-stream')
  response.setHeader('content-length', promised)
  await pipeline(Readable.from(sourceBytes(bytes)), response, { end: bytes === promised })
}

async function describe(request: IncomingMessage): Promise<Echo> {
  const hash = createHash('sha256')
  let bodyBytes = 0
  for await (const piece of request as AsyncIterable<Buffer>) {
    hash.update(piece)
    bodyBytes += piece.length
  }
  return {
    method: request.method ?? '',
    path: request.url ?? '',
    headerNames: Object.keys(request.headers).sort(),
    bodyBytes,
    bodySha256: hash.digest('hex'),
  }
}
