/** Starts host programs with a gateway, a token and a client for them, and talks to them. */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import type { Test } from 'tap'
import type { GivenOptions, RelayStatus } from '#src/index.js'
import { within } from '../support/deadline.js'
import { RawClient } from '../support/raw-client.js'
import { CANARY, type EchoGateway, ESTABLISHED, echoGateway } from './echo-gateway.js'
import type { HostSettings, SetUp } from './host-program.js'

export interface HostOptions {
  readonly given?: GivenOptions
  /** the runtime's program (default: this one's), and its flags */
  readonly program?: string
  readonly flags?: readonly string[]
  readonly env?: Readonly<Record<string, string>>
  /** file that runs in the thread in place of the relay's own program; then there is no init */
  readonly thread?: URL
  /** the package's dist folder (default: this checkout's) */
  readonly dist?: URL
  /** what the thread is to believe, where there is no init (default: the gateway's CA) */
  readonly caPem?: string
  readonly logThrows?: boolean
}

export interface Host {
  readonly gateway: EchoGateway
  readonly setUp: SetUp
  /** its exit status, or the signal that ended it */
  readonly ended: Promise<number | string>
  /** what it wrote to standard error so far */
  errors(): string
  /** the answer to a script */
  ask<T>(script: string): Promise<T>
  status(): Promise<RelayStatus>
  lines(): Promise<string>
  /** ends its standard input: it has nothing to do any more */
  leave(): void
  /** a tunnel that is open */
  tunnel(): Promise<RawClient>
}

/** Starts one, and waits until its relay is set up. It ends with the test. */
export async function startHost(t: Test, options: HostOptions = {}): Promise<Host> {
  const { given, program = process.execPath, flags = [], env = {}, thread, logThrows } = options
  const folder = mkdtempSync(join(tmpdir(), 'upstreamproxy-thread-'))
  t.teardown(() => rmSync(folder, { recursive: true, force: true }))
  const gateway = await echoGateway(t, folder)
  const tokenFile = join(folder, 'token')
  writeFileSync(tokenFile, `${CANARY}\n`, { mode: 0o600 })
  const settings: HostSettings = {
    given: {
      baseUrl: gateway.baseUrl,
      gatewayCa: gateway.caFile,
      tokenFile,
      caBundle: join(folder, 'ca-bundle.crt'),
      relay: { thread: true },
      ...given,
    },
    dist: (options.dist ?? DIST).href,
    program: thread?.href,
    token: CANARY,
    caPem: options.caPem ?? gateway.caPem,
    logThrows,
  }
  const variables = Object.entries({
    PATH: process.env['PATH'],
    HOME: folder,
    CLAUDE_CODE_REMOTE: '1',
    CCR_UPSTREAM_PROXY_ENABLED: '1',
    CLAUDE_CODE_REMOTE_SESSION_ID: 'session-1',
    ...env,
  }).map(([name, value]) => `${name}=${value}`)
  // Through env(1), which becomes the program: tap adds variables of its own to whatever is spawned.
  const words = ['-i', ...variables, program, ...flags, PROGRAM, JSON.stringify(settings)]
  const child = spawn('env', words, { cwd: folder, stdio: 'pipe' })
  t.teardown(() => child.kill('SIGKILL'))
  let errors = ''
  child.stderr.on('data', (bytes) => (errors += bytes))
  child.stdin.on('error', () => undefined)
  const ended = once(child, 'exit').then(([status, signal]) => signal ?? status)
  const answers = createInterface({ input: child.stdout })[Symbol.asyncIterator]()
  const answer = async (what: string): Promise<unknown> => {
    const { value, done } = await within(answers.next(), what, 20_000)
    if (done) throw new Error(`${what}: it has ended (${await ended}): ${errors}`)
    return JSON.parse(value)
  }
  const setUp = (await answer('the set-up')) as SetUp
  const ask = async <T>(script: string): Promise<T> => {
    child.stdin.write(`${JSON.stringify(script)}\n`)
    return (await answer(script)) as T
  }
  return {
    gateway,
    setUp,
    ended: ended as Promise<number | string>,
    errors: () => errors,
    ask,
    status: () => ask('relay.status()'),
    lines: async () => (await ask<string[]>('lines')).join(''),
    leave: () => child.stdin.end(),
    async tunnel() {
      const client = await RawClient.connect(setUp.port)
      t.teardown(() => client.socket.destroy())
      client.write('CONNECT origin.test:443 HTTP/1.1\r\nHost: origin.test:443\r\n\r\n')
      await client.inbox.read(ESTABLISHED.length)
      return client
    },
  }
}

/** Sends a message and waits for it to come back; the longest that it took, over so many ms. */
export async function longestRoundMs(client: RawClient, ms: number): Promise<number> {
  const message = Buffer.alloc(64, 'ping')
  const end = performance.now() + ms
  let longest = 0
  for (let before = performance.now(); before < end; before = performance.now()) {
    client.write(message)
    await client.inbox.read(message.length)
    longest = Math.max(longest, performance.now() - before)
    await new Promise((resolve) => setTimeout(resolve, 5))
  }
  return longest
}

const PROGRAM = fileURLToPath(new URL('host-program.js', import.meta.url))
const DIST = new URL('.', import.meta.resolve('#src/index.js'))
