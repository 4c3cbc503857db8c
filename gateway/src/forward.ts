/**
 * One request to an origin and its response back.
 *
 * Rule 1: bodies stream both ways, each side waiting for the other; nothing is gathered.
 * Rule 2: a response that breaks off is told as broken (`failed`), never ended: the client must not take what came for
 *         the whole.
 * Rule 3: a request is repeated only where nothing of it can have been acted upon twice: no body, a safe method, on a
 *         kept connection that was found dead (RFC 9110 §9.2.2).
 */
import type { ClientRequest, IncomingMessage, OutgoingMessage, ServerResponse } from 'node:http'
import { headersForClient, headersForOrigin, trailerPairs, valuesOf } from './headers.js'
import { errorText } from './log.js'
import { OriginError, type Origins } from './origins.js'
import type { Destination, InjectedHeader } from './policy.js'
import type { ReasonCode } from './reasons.js'
import { type CheckedRequest, hostHeader } from './request-check.js'

export interface ForwardOptions {
  readonly origins: Origins
  /** id of the session, for its pool of connections */
  readonly session: string
  readonly destination: Destination
  readonly request: IncomingMessage
  readonly response: ServerResponse
  readonly checked: Extract<CheckedRequest, { ok: true }>
  readonly set: readonly InjectedHeader[]
  readonly events: ForwardEvents
}

export interface ForwardEvents {
  /** there is a verified connection, and the headers go out on it */
  connected(): void
  /** the response has begun */
  responded(status: number): void
  /** told once at most; whether the response had begun is in its `headersSent` */
  failed(reason: ReasonCode, detail: string | undefined): void
}

/** Forwards once `start` is called. */
export class Forward {
  readonly #options: ForwardOptions
  #upstream: ClientRequest | undefined
  #bytesUp = 0
  #bytesDown = 0
  #responded = false
  #over = false

  constructor(options: ForwardOptions) {
    this.#options = options
  }

  /** bytes of the request's body that came */
  get bytesUp(): number {
    return this.#bytesUp
  }

  /** bytes of the response's body that came */
  get bytesDown(): number {
    return this.#bytesDown
  }

  start(): void {
    this.#send(false)
  }

  /** Ends it all towards the origin; nothing is told any more. */
  abort(): void {
    this.#over = true
    this.#upstream?.destroy()
  }

  #send(fresh: boolean): void {
    const { origins, session, destination, request, checked, set, events } = this.#options
    const method = request.method!
    const upstream = origins.request(session, destination, {
      method,
      target: checked.target,
      headers: [
        ...headersForOrigin(request.rawHeaders, {
          authority: hostHeader(destination),
          chunked: checked.body === 'chunked',
          set,
        }),
        // RFC 9110 §8.6: a method that expects a body says that there is none.
        ...(checked.body === 'none' && WITH_BODY.has(method) ? ['Content-Length', '0'] : []),
      ],
      fresh,
    })
    this.#upstream = upstream
    // Handed over verified (origins.ts): from here on the origin has the headers.
    upstream.on('socket', () => events.connected())
    upstream.on('response', (response) => this.#relayResponse(response))
    upstream.on('timeout', () => upstream.destroy(new OriginError('upstream-timeout')))
    upstream.on('upgrade', (_, socket) => {
      socket.destroy()
      this.#fail(new OriginError('upstream-malformed', 'a 101 that was not asked for'))
    })
    upstream.on('error', (error) => {
      const repeatable = checked.body === 'none' && SAFE.has(method) && !fresh && !this.#responded
      const dead = upstream.reusedSocket && DEAD_CONNECTION.has(errorText(error))
      if (repeatable && dead && !this.#over) this.#send(true)
      else this.#fail(error)
    })
    upstream.on('close', () => {
      // Whatever else may end it without a response.
      if (this.#upstream === upstream && !this.#responded) this.#fail(new OriginError('upstream-closed'))
    })
    this.#relayBody(upstream)
  }

  #relayBody(upstream: ClientRequest): void {
    const { request, response, checked, set } = this.#options
    if (checked.body === 'none') {
      // Read to its end all the same: the server is to see that the message is over.
      request.resume()
      upstream.end()
      return
    }
    if (checked.expectContinue) {
      upstream.on('continue', () => response.writeContinue())
      upstream.flushHeaders()
    }
    request.on('data', (bytes: Buffer) => {
      this.#bytesUp += bytes.length
    })
    request.pipe(upstream, { end: false })
    request.once('end', () => {
      addTrailers(upstream, trailerPairs(request.rawTrailers, set))
      upstream.end()
    })
  }

  #relayResponse(upstream: IncomingMessage): void {
    const { response, events } = this.#options
    this.#responded = true
    const headers = headersForClient(upstream.rawHeaders)
    const codings = valuesOf(upstream.rawHeaders, 'transfer-encoding')
    try {
      // Only chunks are undone here: another coding would reach the client without the header that names it.
      if (codings.some((coding) => coding.toLowerCase() !== 'chunked')) throw new Error('a transfer coding')
      response.writeHead(upstream.statusCode!, upstream.statusMessage, headers)
    } catch (error) {
      this.#fail(new OriginError('upstream-malformed', errorText(error)))
      this.#upstream?.destroy()
      return
    }
    events.responded(upstream.statusCode!)
    // A stream of events may begin with silence.
    response.flushHeaders()
    upstream.on('data', (bytes: Buffer) => {
      this.#bytesDown += bytes.length
    })
    upstream.pipe(response, { end: false })
    upstream.once('end', () => {
      if (!upstream.complete || this.#over) return
      addTrailers(response, trailerPairs(upstream.rawTrailers, []))
      response.end()
    })
    upstream.once('error', (error) => this.#fail(error))
    upstream.once('close', () => {
      if (!upstream.complete) this.#fail(new OriginError('upstream-aborted'))
    })
  }

  #fail(error: Error): void {
    const { request, response, events } = this.#options
    if (this.#over || response.writableEnded) return
    this.#over = true
    request.unpipe()
    if (error instanceof OriginError) events.failed(error.reason, error.detail)
    else events.failed(reasonAfterConnect(error), errorText(error))
  }
}

// Trailers that cannot be written are left out, as RFC 9110 §6.5.1 lets an intermediary.
function addTrailers(message: OutgoingMessage, trailers: [string, string][]): void {
  try {
    if (trailers.length > 0) message.addTrailers(trailers)
  } catch {
    // Node's writer is stricter than its parser.
  }
}

function reasonAfterConnect(error: Error): ReasonCode {
  return errorText(error).startsWith('HPE_') ? 'upstream-malformed' : 'upstream-closed'
}

const SAFE = new Set(['GET', 'HEAD', 'OPTIONS'])
const WITH_BODY = new Set(['POST', 'PUT', 'PATCH'])
const DEAD_CONNECTION = new Set(['ECONNRESET', 'EPIPE'])
