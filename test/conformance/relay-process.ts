/**
 * Starts a relay as a process of its own and speaks with it. Which runtime runs it, and which engine, the
 * environment says: CONFORMANCE_RUNTIME (path of a node or bun; default: this one), CONFORMANCE_ENGINE (default: the
 * relay's own choice); CONFORMANCE_THREAD=1: the relay has a thread of its own.
 */
import { type ChildProcessWithoutNullStreams, spawn } from 'node:child_process'
import { basename } from 'node:path'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import type { RelayStatus } from '#src/relay/status.js'
import { within } from '../support/deadline.js'
import { RawClient } from '../support/raw-client.js'
import type { Memory, RelayAnswer, RelayCommand, RelayConfiguration } from './relay-protocol.js'

export type RelayProcessOptions = Omit<RelayConfiguration, 'engine' | 'thread'> & {
  /** variables of its environment; it has no others but PATH */
  readonly env?: Readonly<Record<string, string>>
}

export class RelayProcess {
  readonly #child: ChildProcessWithoutNullStreams
  readonly #answers: AsyncIterator<string>
  readonly #exit: Promise<string>
  #port = 0
  #stderr = ''
  #closed = false

  /** Resolves when the relay listens. */
  static async start({ env = {}, ...configuration }: RelayProcessOptions): Promise<RelayProcess> {
    const relay = new RelayProcess(env)
    const engine = process.env['CONFORMANCE_ENGINE']
    const answer = await relay.#ask({
      ...configuration,
      ...(engine !== undefined && { engine }),
      thread: process.env['CONFORMANCE_THREAD'] === '1',
    })
    if (!('port' in answer)) throw new Error(`the relay did not start: ${JSON.stringify(answer)}`)
    relay.#port = answer.port
    return relay
  }

  private constructor(env: Readonly<Record<string, string>>) {
    const runtime = process.env['CONFORMANCE_RUNTIME'] ?? process.execPath
    const flags = basename(runtime).startsWith('node') ? ['--expose-gc'] : []
    this.#child = spawn(runtime, [...flags, MAIN], { env: { PATH: process.env['PATH'], ...env } })
    this.#answers = createInterface({ input: this.#child.stdout })[Symbol.asyncIterator]()
    this.#child.stderr.setEncoding('utf8').on('data', (text: string) => {
      this.#stderr += text
    })
    this.#exit = new Promise((resolve) => {
      this.#child.on('error', (error) => resolve(error.message))
      this.#child.on('close', (code, signal) => resolve(signal ?? String(code)))
    })
    // A relay that has crashed is told by its exit.
    this.#child.stdin.on('error', () => undefined)
  }

  get port(): number {
    return this.#port
  }

  get pid(): number {
    return this.#child.pid!
  }

  /** true once it has been told to close */
  get closed(): boolean {
    return this.#closed
  }

  /** all that it has written to standard error */
  get stderr(): string {
    return this.#stderr
  }

  /** What the process takes. */
  async memory(): Promise<Memory> {
    const answer = await this.#ask({ do: 'memory' })
    if (!('memory' in answer)) throw new Error('not an answer about memory')
    return answer.memory
  }

  /** Calls the relay's close(); resolves when that has. */
  async close(drainMs: number): Promise<void> {
    this.#closed = true
    await this.#ask({ do: 'close', drainMs })
  }

  /** The status document, as a client reads it. */
  async status(): Promise<RelayStatus> {
    const client = await RawClient.connect(this.#port)
    client.write(`GET /__upstreamproxy/status HTTP/1.1\r\nHost: 127.0.0.1:${this.#port}\r\n\r\n`)
    const { body } = await client.answer()
    client.end()
    return JSON.parse(body) as RelayStatus
  }

  /** Ends it; rejects where it did not run to its end, or something threw in it. */
  async stop(): Promise<void> {
    this.#child.stdin.end()
    try {
      const exit = await within(this.#exit, 'the end of the relay’s process', 5_000)
      if (exit !== '0') throw new Error(`the relay exited with ${exit}: ${this.#stderr.slice(-4096)}`)
    } catch (error) {
      this.#child.kill('SIGKILL')
      throw error
    }
  }

  async #ask(line: RelayConfiguration | RelayCommand): Promise<RelayAnswer> {
    this.#child.stdin.write(`${JSON.stringify(line)}\n`)
    const { value, done } = await within(this.#answers.next(), 'an answer of the relay’s process')
    if (done === true) throw new Error(`the relay exited with ${await this.#exit}: ${this.#stderr}`)
    return JSON.parse(value) as RelayAnswer
  }
}

const MAIN = fileURLToPath(new URL('relay-main.js', import.meta.url))
