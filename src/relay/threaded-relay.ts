/**
 * The relay in a worker thread, as the host's thread sees it: tunnels go on while the host's is busy.
 *
 * Rule 1: the token and the session id go in a message; never in argv, the environment or workerData.
 * Rule 2: nothing of the host's start runs in the thread: no flags and no variables, so no hook of `--require`,
 *         `--import` or NODE_OPTIONS, and no NODE_DEBUG.
 * Rule 3: whatever becomes of the thread, the host goes on (invariant 1); and the thread keeps no host alive.
 * Rule 4: `status()` waits for nobody: the counts lie in memory that both threads have.
 */
import { Worker } from 'node:worker_threads'
import { asProxyError, ProxyError } from '../errors.js'
import type { Limits } from '../limits.js'
import { createLog, errorFields, type LogOptions } from '../log.js'
import { COUNTERS_BYTES, Counters } from './counters.js'
import { DEFAULT_DRAIN_MS, FLUSH_MS, Latch } from './drain.js'
import { LINE_PASSAGE_BYTES, lineTaken } from './line-passage.js'
import type { Relay, RelayOptions } from './relay.js'
import { type RelayIdentity, type RelayStatus, statusOf } from './status.js'
import { proxyErrorOf, type ThreadCommand, type ThreadEvent } from './thread-protocol.js'

export interface ThreadedRelayOptions extends Omit<RelayOptions, 'secureContext' | 'log' | 'counterMemory'> {
  /** PEM certificates that vouch for the gateway; needed where the base URL is https */
  readonly roots: readonly string[] | undefined
  /** how the thread makes its lines, and where this one writes them */
  readonly log: Required<LogOptions>
}

class ThreadedRelay implements Relay {
  readonly #thread: RelayThread
  readonly #identity: RelayIdentity

  constructor(thread: RelayThread, identity: RelayIdentity) {
    this.#thread = thread
    this.#identity = identity
  }

  get port(): number {
    return this.#identity.port
  }

  status(): RelayStatus {
    return statusOf(this.#identity, this.#thread.counters, this.#thread.hasEnded ? 'ended' : 'own')
  }

  close({ drainMs = DEFAULT_DRAIN_MS }: { readonly drainMs?: number } = {}): Promise<void> {
    return this.#thread.close(drainMs)
  }
}

/** A worker, what it says, and how it ends. */
export class RelayThread {
  readonly counters: Counters
  hasEnded = false
  readonly #worker: Worker
  readonly #counterMemory = new SharedArrayBuffer(COUNTERS_BYTES)
  readonly #lineMemory = new SharedArrayBuffer(LINE_PASSAGE_BYTES)
  readonly #log: Required<LogOptions>
  readonly #ended = new Latch()
  // Of `listen`, until the thread has answered it.
  #answer: { resolve(identity: RelayIdentity): void; reject(error: ProxyError): void } | undefined
  #failure: unknown
  #hasListened = false
  #isWanted = true

  /**
   * Starts it; until it listens, it keeps the host alive.
   * @param program what runs in it
   * @throws ProxyError ERR_RELAY_THREAD
   */
  constructor({ log, limits }: Pick<ThreadedRelayOptions, 'log' | 'limits'>, program: URL = PROGRAM) {
    this.#log = log
    this.counters = new Counters(this.#counterMemory)
    this.#worker = startWorker(program, limits)
    this.#worker.on('message', (event: ThreadEvent) => this.#heard(event))
    this.#worker.on('error', (error) => {
      this.#failure = error
    })
    this.#worker.on('exit', (status) => this.#exited(status))
  }

  /** As listenRelay. Once. Rejects with ERR_RELAY_THREAD, and with what listenRelay rejects with; then it has ended. */
  async listen(options: ThreadedRelayOptions): Promise<Relay> {
    try {
      if (this.hasEnded) throw this.#error
      const relay = new ThreadedRelay(this, await this.#listen(options))
      this.#hasListened = true
      this.#worker.unref()
      return relay
    } catch (error) {
      await this.end()
      throw error
    }
  }

  async #listen({ token, roots, log, ...options }: ThreadedRelayOptions): Promise<RelayIdentity> {
    const { engine = 'auto', prewarm = 0, port, baseUrl, sessionId, limits } = options
    let late: NodeJS.Timeout | undefined
    const answered = new Promise<RelayIdentity>((resolve, reject) => {
      this.#answer = { resolve, reject }
      late = setTimeout(() => reject(threadError(`nothing came of it within ${START_MS} ms`)), START_MS)
    })
    this.#tell({
      do: 'listen',
      engine,
      prewarm,
      port,
      baseUrl: baseUrl.href,
      roots,
      sessionId,
      token: token.reveal(),
      limits,
      log: { level: log.level, format: log.format },
      counterMemory: this.#counterMemory,
      lineMemory: this.#lineMemory,
    })
    try {
      return await answered
    } finally {
      this.#answer = undefined
      clearTimeout(late)
    }
  }

  async end(): Promise<void> {
    this.#isWanted = false
    await this.#worker.terminate()
  }

  close(drainMs: number): Promise<void> {
    this.#isWanted = false
    this.#worker.ref()
    this.#tell({ do: 'close', drainMs })
    // Where it does not even come to drain.
    const overdue = setTimeout(() => void this.end(), drainMs + FLUSH_MS + CLOSE_GRACE_MS)
    void this.#ended.opened.then(() => clearTimeout(overdue))
    return this.#ended.opened
  }

  #tell(command: ThreadCommand): void {
    this.#worker.postMessage(command)
  }

  #heard(event: ThreadEvent): void {
    if (event.event === 'line') {
      lineTaken(this.#lineMemory)
      this.#log.write(event.line)
    } else if (event.event === 'listening') this.#answer?.resolve(event.identity)
    else if (event.event === 'failed') this.#answer?.reject(proxyErrorOf(event.error))
    else void this.end()
  }

  get #error(): ProxyError {
    return threadError(this.#failure)
  }

  #exited(status: number): void {
    this.hasEnded = true
    this.counters.tunnelsOpen = 0
    this.#failure ??= `it ended with status ${status}`
    const error = this.#error
    this.#answer?.reject(error)
    if (this.#hasListened && this.#isWanted) {
      this.counters.fail(error.code)
      createLog(this.#log).error('relay-thread-failed', errorFields(error))
    }
    this.#ended.open()
  }
}

function startWorker(program: URL, { maxTunnels }: Limits): Worker {
  try {
    return new Worker(program, {
      name: 'upstreamproxy',
      argv: [],
      execArgv: [],
      env: {},
      // Of the heap alone: what tunnels queue lies outside it, and has bounds of its own.
      resourceLimits: { maxOldGenerationSizeMb: HEAP_MB + Math.ceil(maxTunnels * TUNNEL_HEAP_MB) },
    })
  } catch (cause) {
    // Such as by Node's permission model.
    throw threadError(cause)
  }
}

function threadError(cause: unknown): ProxyError {
  const { message } = asProxyError(cause)
  return new ProxyError('ERR_RELAY_THREAD', `the thread of the relay: ${message}`, {
    cause,
    hint: 'with relay: { thread: false } it runs in the thread that calls init',
  })
}

const PROGRAM = new URL('./relay-thread.js', import.meta.url)
// A tunnel takes 8 to 11 KB of it: measured with 1,000 idle ones, either engine.
const HEAP_MB = 64
const TUNNEL_HEAP_MB = 1 / 32
const START_MS = 10_000
const CLOSE_GRACE_MS = 5_000
