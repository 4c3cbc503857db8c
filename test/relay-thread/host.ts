import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import type { Test } from 'tap'
import type { GivenOptions, RelayStatus } from '#src/index.js'
import { askedProgram } from '../support/asking.js'
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
  const variables = {
    PATH: process.env['PATH'],
    HOME: folder,
    CLAUDE_CODE_REMOTE: '1',
    CCR_UPSTREAM_PROXY_ENABLED: '1',
    CLAUDE_CODE_REMOTE_SESSION_ID: 'session-1',
    ...env,
  }
  const words = [program, ...flags, PROGRAM, JSON.stringify(settings)]
  const asked = askedProgram(t, variables, words, { cwd: folder })
  const setUp = (await asked.answer('the set-up', ANSWER_MS)) as SetUp
  const ask = async <T>(script: string): Promise<T> => (await asked.ask(script, ANSWER_MS)) as T
  return {
    gateway,
    setUp,
    ended: asked.ended,
    errors: asked.errors,
    ask,
    status: () => ask('relay.status()'),
    lines: async () => (await ask<string[]>('lines')).join(''),
    leave: () => asked.child.stdin.end(),
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

const ANSWER_MS = 20_000
