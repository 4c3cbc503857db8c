/**
 * The relay's own thread: the program of the worker that threaded-relay.ts starts.
 *
 * Rule 1: an error that nothing catches is a line in the log and a failure in the status, and the relay goes on: the
 *         tunnels that have nothing to do with it, and the host, must not end for it.
 * Rule 2: what comes and goes is ThreadCommand and ThreadEvent; nothing is read from the environment or from flags.
 */
import { createSecureContext } from 'node:tls'
import { parentPort } from 'node:worker_threads'
import { asProxyError } from '../errors.js'
import { createLog, errorFields, type Log } from '../log.js'
import { Counters } from './counters.js'
import { LineSender } from './line-passage.js'
import { listenRelay, type Relay } from './relay.js'
import { type ListenCommand, plainError, type ThreadCommand, type ThreadEvent } from './thread-protocol.js'

let relay: Relay | undefined
// A listener on the port is what keeps the thread alive.
parentPort!.on('message', (command: ThreadCommand) => {
  if (command.do === 'listen') void listen(command)
  else void relay?.close({ drainMs: command.drainMs }).then(() => say({ event: 'closed' }))
})

async function listen(command: ListenCommand): Promise<void> {
  const { engine, prewarm, port, roots, sessionId, token, limits, counterMemory } = command
  const log = logOf(command)
  const counters = new Counters(counterMemory)
  const report = (error: unknown) => {
    counters.fail('ERR_INTERNAL')
    log.error('internal-error', errorFields(asProxyError(error)))
  }
  process.on('uncaughtException', report)
  process.on('unhandledRejection', report)
  try {
    relay = await listenRelay({
      engine,
      prewarm,
      port,
      baseUrl: new URL(command.baseUrl),
      secureContext: roots && createSecureContext({ ca: [...roots] }),
      sessionId,
      token: { reveal: () => token },
      limits,
      log,
      counterMemory,
    })
    const { engine: used, since } = relay.status()
    say({ event: 'listening', identity: { engine: used, since, port: relay.port } })
  } catch (error) {
    say({ event: 'failed', error: plainError(asProxyError(error)) })
  }
}

// Lines are made here, by the clock of what they tell.
function logOf({ log: options, lineMemory }: ListenCommand): Log {
  const sender = new LineSender(
    lineMemory,
    (line) => say({ event: 'line', line }),
    (count) => {
      let text = ''
      createLog({ ...options, write: (line) => (text = line) }).warn('lines-left-out', { count })
      return text
    },
  )
  return createLog({ ...options, write: (line) => sender.send(line) })
}

function say(event: ThreadEvent): void {
  parentPort!.postMessage(event)
}
