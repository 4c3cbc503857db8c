/** A relay and its client in one, small and real: a WebSocket, chunks, CONNECT, TLS, HTTP/1.1. */
import { type ClientRequest, type IncomingMessage, type RequestOptions, request } from 'node:http'
import type { Socket } from 'node:net'
import { Duplex } from 'node:stream'
import { type ConnectionOptions, type TLSSocket, connect as tlsConnect } from 'node:tls'
import { CONTENT_TYPE, decodeChunk, encodeChunk, WIRE_PATHS } from 'upstreamproxy/wire'
import { WebSocket } from 'ws'
import { TOKEN } from './gateway.js'

export interface UpgradeOptions {
  readonly token?: string | undefined
  readonly contentType?: string | undefined
  readonly path?: string
  readonly ca?: string
}

/** The WebSocket, open. Rejects with `status N: body` where the upgrade was refused. */
export function upgrade(url: string, options: UpgradeOptions = {}): Promise<WebSocket> {
  const token = 'token' in options ? options.token : TOKEN
  const contentType = 'contentType' in options ? options.contentType : CONTENT_TYPE
  return new Promise((resolve, reject) => {
    const webSocket = new WebSocket(url.replace(/^http/, 'ws') + (options.path ?? WIRE_PATHS.webSocket), {
      perMessageDeflate: false,
      ...(options.ca !== undefined && { ca: options.ca }),
      headers: {
        ...(token !== undefined && { Authorization: `Bearer ${token}` }),
        ...(contentType !== undefined && { 'Content-Type': contentType }),
      },
    })
    webSocket.once('open', () => resolve(webSocket))
    webSocket.once('error', reject)
    webSocket.once('unexpected-response', (_, response) => {
      void textOf(response).then((body) => reject(new UpgradeRefused(response, body)))
    })
  })
}

export class UpgradeRefused extends Error {
  readonly status: number
  readonly headers: IncomingMessage['headers']

  constructor(response: IncomingMessage, body: string) {
    super(body)
    this.status = response.statusCode ?? 0
    this.headers = response.headers
  }
}

/** The bytes of a tunnel, from the relay's side. */
export class RawTunnel extends Duplex {
  readonly webSocket: WebSocket
  /** code of the Close that ended it */
  readonly closeCode: Promise<number>
  keepalives = 0

  constructor(webSocket: WebSocket) {
    super()
    this.webSocket = webSocket
    webSocket.on('message', (message: Buffer) => {
      const payload = decodeChunk(message)
      if (payload.length === 0) this.keepalives++
      else if (!this.push(payload)) webSocket.pause()
    })
    webSocket.on('error', () => undefined)
    this.closeCode = new Promise((resolve) => {
      webSocket.once('close', (code) => {
        resolve(code)
        if (code === 1000 || code === 1005) this.push(null)
        else this.destroy(new Error(`tunnel closed with ${code}`))
      })
    })
    this.on('error', () => undefined)
  }

  override _read(): void {
    this.webSocket.resume()
  }

  override _write(bytes: Buffer, _: BufferEncoding, callback: (error?: Error | null) => void): void {
    this.webSocket.send(encodeChunk(bytes), (error) => callback(error ?? null))
  }

  override _final(callback: () => void): void {
    this.webSocket.close(1000)
    callback()
  }

  override _destroy(error: Error | null, callback: (error: Error | null) => void): void {
    this.webSocket.terminate()
    callback(error)
  }
}

export interface ConnectOptions extends UpgradeOptions {
  /** the first chunk, whole (default: a CONNECT with the session's credentials) */
  readonly head?: string
  readonly credentials?: string | undefined
  /** bytes that follow the CONNECT in the same chunk */
  readonly early?: Buffer
}

export interface Connected {
  readonly tunnel: RawTunnel
  readonly status: number
  /** status line and headers of the answer */
  readonly head: string
  /** what followed the head in the same read */
  readonly rest: Buffer
}

export function basic(id: string, token: string): string {
  return `Basic ${Buffer.from(`${id}:${token}`).toString('base64')}`
}

export function connectHead(authority: string, credentials: string | undefined): string {
  const line = credentials === undefined ? '' : `Proxy-Authorization: ${credentials}\r\n`
  return `CONNECT ${authority} HTTP/1.1\r\n${line}\r\n`
}

/** Upgrades, sends the CONNECT, and reads the answer's head. */
export async function connect(
  url: string,
  authority: string,
  options: ConnectOptions = {},
): Promise<Connected> {
  const tunnel = new RawTunnel(await upgrade(url, options))
  const credentials =
    'credentials' in options ? options.credentials : basic('session-1', options.token ?? TOKEN)
  const head = Buffer.from(options.head ?? connectHead(authority, credentials))
  tunnel.write(options.early ? Buffer.concat([head, options.early]) : head)
  return { tunnel, ...(await readHead(tunnel)) }
}

export async function readHead(stream: Duplex): Promise<Omit<Connected, 'tunnel'>> {
  let got = Buffer.alloc(0)
  for (;;) {
    const end = got.indexOf('\r\n\r\n')
    if (end >= 0) {
      const head = got.toString('latin1', 0, end)
      return { status: Number(head.split(' ')[1]), head, rest: got.subarray(end + 4) }
    }
    const piece = await nextPiece(stream)
    if (piece === undefined) throw new Error(`ended inside the head: ${got.toString('latin1')}`)
    got = Buffer.concat([got, piece])
  }
}

/** Everything until the end; rejects where the stream breaks. */
export async function readAll(stream: Duplex): Promise<Buffer> {
  const pieces: Buffer[] = []
  for await (const piece of stream) pieces.push(piece as Buffer)
  return Buffer.concat(pieces)
}

/** TLS through a tunnel to an origin. */
export async function secure(
  url: string,
  authority: string,
  { ca, connect: connectOptions, tls = {} }: SecureOptions,
): Promise<TLSSocket> {
  const { tunnel, status, head } = await connect(url, authority, connectOptions)
  if (status !== 200) throw new Error(head)
  const servername = authority.replace(/:\d+$/, '')
  return new Promise((resolve, reject) => {
    const socket = tlsConnect({
      socket: tunnel as Duplex as Socket,
      ca,
      servername,
      ALPNProtocols: ['http/1.1'],
      ...tls,
    })
    tunnels.set(socket, tunnel)
    tunnel.once('error', (error) => socket.destroy(error))
    socket.once('secureConnect', () => resolve(socket))
    socket.once('error', reject)
    socket.on('error', () => undefined)
  })
}

const tunnels = new WeakMap<TLSSocket, RawTunnel>()

/** The tunnel under a connection of `secure`. */
export function tunnelOf(socket: TLSSocket): RawTunnel {
  return tunnels.get(socket)!
}

export interface SecureOptions {
  /** the gateway's CA, PEM */
  readonly ca: string
  readonly connect?: ConnectOptions
  readonly tls?: ConnectionOptions
}

export interface Answer {
  readonly status: number
  readonly headers: IncomingMessage['headers']
  readonly rawHeaders: string[]
  readonly trailers: IncomingMessage['trailers']
  readonly body: string
}

/** A request on a connection that stays open. */
export function send(socket: Duplex, options: RequestOptions): ClientRequest {
  return request({ createConnection: () => socket as Socket, setHost: false, ...options })
}

/** One request and its whole answer; the connection is kept unless `agent: false`-like headers say otherwise. */
export function exchange(socket: Duplex, options: RequestOptions & { body?: string } = {}): Promise<Answer> {
  return new Promise((resolve, reject) => {
    const { body, ...rest } = options
    const sent = send(socket, {
      ...rest,
      headers: { Host: 'origin.test', Connection: 'keep-alive', ...(rest.headers as object) },
    })
    sent.once('error', reject)
    sent.once('response', (response) => {
      textOf(response).then(
        (text) =>
          resolve({
            status: response.statusCode ?? 0,
            headers: response.headers,
            rawHeaders: response.rawHeaders,
            trailers: response.trailers,
            body: text,
          }),
        reject,
      )
    })
    sent.end(body)
  })
}

export async function textOf(stream: AsyncIterable<unknown>): Promise<string> {
  const pieces: Buffer[] = []
  for await (const piece of stream) pieces.push(piece as Buffer)
  return Buffer.concat(pieces).toString()
}

function nextPiece(stream: Duplex): Promise<Buffer | undefined> {
  return new Promise((resolve, reject) => {
    const settle = (done: () => void) => {
      stream.off('data', onData).off('end', onEnd).off('error', onError).off('close', onEnd)
      stream.pause()
      done()
    }
    const onData = (bytes: Buffer) => settle(() => resolve(bytes))
    const onEnd = () => settle(() => resolve(undefined))
    const onError = (error: Error) => settle(() => reject(error))
    stream.on('data', onData).on('end', onEnd).on('error', onError).on('close', onEnd)
    stream.resume()
  })
}
