/** A client of a proxy port made of a bare TCP socket: it sees each byte, and tells a FIN from a reset. */
import * as net from 'node:net'
import { tellFinFromReset } from '#src/relay/fin-or-reset.js'
import { within } from './deadline.js'
import { Inbox } from './inbox.js'

/** How a connection ended, as its client saw it. */
export type Ending = 'fin' | 'rst'

export interface HttpAnswer {
  readonly status: number
  /** by lower-case name; each must come once */
  readonly headers: Readonly<Record<string, string>>
  /** as many bytes as Content-Length says */
  readonly body: string
}

export class RawClient {
  readonly socket: net.Socket
  readonly inbox = new Inbox('the client')
  /** resolves once the connection is gone */
  readonly ending: Promise<Ending>
  #transcript = ''

  static async connect(port: number, host = '127.0.0.1'): Promise<RawClient> {
    const socket = net.connect({ port, host, noDelay: true })
    await within(
      new Promise<void>((resolve, reject) => {
        socket.once('connect', resolve)
        socket.once('error', reject)
      }),
      'connecting to the relay',
    )
    return new RawClient(socket)
  }

  constructor(socket: net.Socket) {
    this.socket = socket
    let ending: Ending = 'rst'
    socket.on('data', (bytes: Buffer) => {
      if (this.#transcript.length < TRANSCRIPT_BYTES) this.#transcript += bytes.toString('latin1')
      this.inbox.push(bytes)
    })
    // Before the socket's own listener, which ends the writing side.
    socket.prependListener('end', () => {
      tellFinFromReset(socket, NOTHING, (isFin) => {
        ending = isFin ? 'fin' : 'rst'
      })
    })
    // A reset after the FIN would still spoil a clean end.
    socket.on('error', () => {
      ending = 'rst'
    })
    this.ending = new Promise((resolve) => {
      socket.on('close', () => {
        this.inbox.finish()
        resolve(ending)
      })
    })
  }

  /** the beginning of all that came, for a search for secrets */
  get transcript(): string {
    return this.#transcript
  }

  write(bytes: string | Uint8Array): void {
    this.socket.write(bytes)
  }

  /** Resolves when the bytes have left for the kernel; rejects when the connection breaks before. */
  send(bytes: Uint8Array): Promise<void> {
    return new Promise((resolve, reject) => {
      this.socket.write(bytes, (error) => (error ? reject(error) : resolve()))
    })
  }

  /** FIN */
  end(): void {
    this.socket.end()
  }

  /** RST */
  reset(): void {
    this.socket.resetAndDestroy()
  }

  /** The answer whose head and Content-Length body come next. */
  async answer(): Promise<HttpAnswer> {
    const head = (await this.inbox.readThrough('\r\n\r\n')).toString('latin1')
    const [statusLine, ...lines] = head.slice(0, -4).split('\r\n')
    const status = /^HTTP\/1\.1 ([0-9]{3}) [ -~]*$/.exec(statusLine!)?.[1]
    if (status === undefined) throw new Error(`not a status line: ${statusLine}`)
    const headers: Record<string, string> = {}
    for (const line of lines) {
      const [, name, value] = /^([\w-]+): (.*)$/.exec(line) ?? []
      if (name === undefined || value === undefined) throw new Error(`not a header line: ${line}`)
      if (name.toLowerCase() in headers) throw new Error(`twice in one answer: ${name}`)
      headers[name.toLowerCase()] = value
    }
    const body = await this.inbox.read(Number(headers['content-length'] ?? 0))
    return { status: Number(status), headers, body: body.toString() }
  }

  /** All that is left to come, and how it ended. */
  async rest(): Promise<{ bytes: Buffer; ending: Ending }> {
    const ending = await within(this.ending, 'the end of the client’s connection')
    return { bytes: await this.inbox.readAll(), ending }
  }
}

const NOTHING = Buffer.alloc(0)
const TRANSCRIPT_BYTES = 4 * 1024
