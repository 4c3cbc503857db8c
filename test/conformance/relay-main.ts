/**
 * The program under test: one relay, driven by lines of JSON. The first line on stdin is its configuration (the
 * token too: never argv), each later one a command; each answer is one line on stdout. It ends when stdin does.
 */
import { createInterface } from 'node:readline'
import { createSecureContext } from 'node:tls'
import { asProxyError } from '#src/errors.js'
import { DEFAULT_LIMITS } from '#src/limits.js'
import { createLog } from '#src/log.js'
import type { EngineChoice } from '#src/relay/choose-engine.js'
import { listenRelay, type Relay } from '#src/relay/relay.js'
import { RelayThread } from '#src/relay/threaded-relay.js'
import { Token } from '#src/token.js'
import type { RelayAnswer, RelayCommand, RelayConfiguration } from './relay-protocol.js'

const lines = createInterface({ input: process.stdin, terminal: false })[Symbol.asyncIterator]()
const relay = await start(JSON.parse(await nextLine()) as RelayConfiguration)
while (relay) {
  const line = await nextLine()
  if (line === '') break
  await obey(JSON.parse(line) as RelayCommand, relay)
}
await relay?.close({ drainMs: 0 })
// The relay holds nothing open by itself, but a descriptor that it leaked must not keep the test waiting.
process.exit()

async function start(given: RelayConfiguration): Promise<Relay | undefined> {
  const options = {
    port: 0,
    baseUrl: new URL(given.baseUrl),
    sessionId: given.sessionId,
    token: new Token(given.token),
    limits: { ...DEFAULT_LIMITS, ...given.limits },
    ...(given.prewarm !== undefined && { prewarm: given.prewarm }),
    ...(given.engine !== undefined && { engine: given.engine as EngineChoice }),
  }
  const log = { level: 'debug', format: 'json', write } as const
  const roots = given.caPem === undefined ? undefined : [given.caPem]
  try {
    const listening = given.thread
      ? await new RelayThread({ ...options, log }).listen({ ...options, roots, log })
      : await listenRelay({
          ...options,
          secureContext: roots && createSecureContext({ ca: roots }),
          log: createLog(log),
        })
    say({ port: listening.port })
    return listening
  } catch (error) {
    say({ error: asProxyError(error).code })
    return undefined
  }
}

// What nothing catches in a thread of its own does not end the process: for these tests it shall.
function write(line: string): void {
  process.stderr.write(line)
  if (/"event":"(?:internal-error|relay-thread-failed)"/.test(line)) process.exitCode = 70
}

async function obey(command: RelayCommand, listening: Relay): Promise<void> {
  if (command.do === 'memory') {
    // Twice, with time between: what the first has freed is counted off in the background.
    globalThis.gc?.()
    await new Promise((resolve) => setTimeout(resolve, 50))
    globalThis.gc?.()
    const { rss, heapUsed, external } = process.memoryUsage()
    say({ memory: { residentBytes: rss, heldBytes: heapUsed + external } })
  } else {
    await listening.close({ drainMs: command.drainMs })
    say({ closed: true })
  }
}

async function nextLine(): Promise<string> {
  const { value, done } = await lines.next()
  return done === true ? '' : String(value)
}

function say(answer: RelayAnswer): void {
  process.stdout.write(`${JSON.stringify(answer)}\n`)
}
