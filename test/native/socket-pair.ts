/** Two ends of a connection, the far one silent until it is told to read; and what a writer told. */
import { once } from 'node:events'
import { mkdtempSync, rmSync } from 'node:fs'
import * as net from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Test } from 'tap'
import type { SystemCallError } from '#src/platform/process-control.js'
import type { SocketWriter, SocketWriterOptions } from '#src/platform/socket-writer.js'
import { eventually, within } from '../support/deadline.js'
import type { OpenWriter } from './implementations.js'

export type Kind = 'tcp' | 'unix'

export interface Pair {
  /** where the writer is */
  readonly near: net.Socket
  /** not reading */
  readonly far: net.Socket
}

/** Connections for one test, which end with it. */
export async function pairs(t: Test, kind: Kind): Promise<() => Promise<Pair>> {
  const folder = mkdtempSync(join(tmpdir(), 'upstreamproxy-writer-'))
  const server = net.createServer({ allowHalfOpen: true, pauseOnConnect: true })
  const sockets: net.Socket[] = []
  const address = kind === 'tcp' ? { port: 0, host: '127.0.0.1' } : { path: join(folder, 'socket') }
  server.listen(address)
  await once(server, 'listening')
  t.teardown(async () => {
    for (const socket of sockets) socket.destroy()
    server.close()
    await once(server, 'close')
    rmSync(folder, { recursive: true })
  })
  return async () => {
    const bound = server.address()
    const where = typeof bound === 'string' ? { path: bound } : { port: bound!.port, host: '127.0.0.1' }
    const accepted = once(server, 'connection') as Promise<[net.Socket]>
    const near = net.connect({ ...where, allowHalfOpen: true })
    // An end that is reset has an error, which is not this test's matter.
    near.on('error', () => undefined)
    const [far] = await within(accepted, 'the far end')
    far.on('error', () => undefined)
    if (near.connecting) await within(once(near, 'connect'), 'the near end')
    sockets.push(near, far)
    return { near, far }
  }
}

/** A writer, and what its callbacks told, in order. Fails the test where one comes out of a call. */
export class WatchedWriter {
  readonly told: ('drained' | 'closed' | SystemCallError)[] = []
  readonly #t: Test
  readonly #writer: SocketWriter
  #isInCall = false
  /** called after each callback has been noted */
  onTold: (() => void) | undefined

  constructor(t: Test, open: OpenWriter, socket: net.Socket, maxQueuedBytes = 64 * 1024 * 1024) {
    this.#t = t
    const options: SocketWriterOptions = {
      maxQueuedBytes,
      onDrained: () => this.#note('drained'),
      onClosed: () => this.#note('closed'),
      onFailed: (error) => this.#note(error),
    }
    this.#writer = open(socket, options)
  }

  get queuedBytes(): number {
    return this.#writer.queuedBytes
  }

  get codes(): string[] {
    return this.told.map((what) => (typeof what === 'string' ? what : what.code))
  }

  write(...pieces: readonly (Uint8Array | string)[]): number {
    const bytes = pieces.map((piece) => (typeof piece === 'string' ? Buffer.from(piece) : piece))
    return this.#calling(() => this.#writer.write(bytes))
  }

  end(): void {
    this.#calling(() => this.#writer.end())
  }

  destroy(): void {
    this.#calling(() => this.#writer.destroy())
  }

  /** Resolves once so many callbacks have come. */
  async tellings(count: number): Promise<void> {
    await eventually(() => this.told.length >= count, `${count} callbacks of the writer`)
  }

  #calling<T>(call: () => T): T {
    // A call inside a callback is inside nothing else of the caller's.
    const outer = this.#isInCall
    this.#isInCall = true
    try {
      return call()
    } finally {
      this.#isInCall = outer
    }
  }

  #note(what: 'drained' | 'closed' | SystemCallError): void {
    if (this.#isInCall) this.#t.fail('a callback came out of a call')
    this.told.push(what)
    this.onTold?.()
  }
}

/** Everything to the end of the stream; rejects where it is broken off. */
export async function readAll(far: net.Socket): Promise<Buffer> {
  const pieces: Buffer[] = []
  far.on('data', (piece: Buffer) => pieces.push(piece)).resume()
  await within(once(far, 'end'), 'the end of the stream', 30_000)
  return Buffer.concat(pieces)
}

/** Fills the kernel's buffers, until the writer holds at least `queued` bytes; returns what was given. */
export function fill(writer: WatchedWriter, queued = 1, piece = 64 * 1024): Buffer {
  const given: Buffer[] = []
  while (writer.queuedBytes < queued) {
    const bytes = Buffer.alloc(piece, given.length)
    writer.write(bytes)
    given.push(bytes)
  }
  return Buffer.concat(given)
}
