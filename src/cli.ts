#!/usr/bin/env node
/**
 * The `upstreamproxy` program: argv → a command → how the process ends.
 *
 * Rule 1: nothing else in this package prints, exits, or looks at argv.
 * Rule 2: there is one way out, at the end of this file.
 * Rule 3: standard streams are written with write(2), never opened as streams of Node's: that makes a pipe
 *         non-blocking for everyone who shares it, and then their writes fail (EAGAIN) when its reader is slow.
 */
import { writeSync } from 'node:fs'
import { constants } from 'node:os'
import { Writable } from 'node:stream'
import { isatty } from 'node:tty'
import { commandIn, type Invocation, parseArguments } from './cli/arguments.js'
import { helpText, usageText } from './cli/help.js'
import { type Ending, EXIT, type Io } from './cli/io.js'
import { codeOf, ProxyError } from './errors.js'

const io: Io = {
  env: process.env,
  outIsTerminal: isatty(1),
  colour: isatty(1) && !process.env['NO_COLOR'] && process.env['TERM'] !== 'dumb',
  out: (text) => write(1, text),
  err: (text) => write(2, text),
}

// Rule 3, where it is not ours to keep: Node opens `process.stderr` by itself when the first socket closes.
Object.defineProperty(process, 'stderr', {
  configurable: true,
  enumerable: true,
  value: new Writable({
    write(chunk: Buffer, _encoding, done) {
      io.err(chunk.toString())
      done()
    },
  }),
})

async function main(words: readonly string[]): Promise<Ending> {
  try {
    return await perform(parseArguments(words, io.env))
  } catch (error) {
    if (!(error instanceof ProxyError) || !USAGE_CODES.has(error.code)) {
      io.err(`upstreamproxy: ${error instanceof Error ? (error.stack ?? error.message) : String(error)}\n`)
      return EXIT.internal
    }
    const hint = error.hint === undefined ? '' : `  hint: ${error.hint}\n`
    io.err(`upstreamproxy: ${error.message}\n${hint}${usageText(commandIn(words))}`)
    return EXIT.usage
  }
}

// Each command is loaded when it is the one: `run` starts many short programs, and its start is their delay.
async function perform(invocation: Invocation): Promise<Ending> {
  switch (invocation.command) {
    case 'help':
      io.out(helpText(invocation.topic))
      return EXIT.ok
    case 'version':
      return (await import('./cli/version.js')).version(invocation.json, io)
    case 'run':
      return (await import('./cli/run.js')).run(invocation, io)
    case 'serve':
      return (await import('./cli/serve.js')).serve(invocation, io)
    case 'status':
      return (await import('./cli/status.js')).status(invocation, io)
  }
}

const USAGE_CODES: ReadonlySet<string> = new Set(['ERR_USAGE', 'ERR_OPTION', 'ERR_OPTION_UNKNOWN'])

function write(descriptor: 1 | 2, text: string): void {
  const bytes = Buffer.from(text)
  for (let at = 0; at < bytes.length; ) {
    try {
      at += writeSync(descriptor, bytes, at)
    } catch (error) {
      // EAGAIN: somebody else made the pipe non-blocking, and its reader is slow. Anything else (EPIPE above all)
      // means that nobody reads any more, which is no reason to fail.
      if (codeOf(error) !== 'EAGAIN') return
      Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, RETRY_MS)
    }
  }
}

const RETRY_MS = 5

function end(ending: Ending): never {
  if (typeof ending === 'string') {
    process.removeAllListeners(ending)
    process.kill(process.pid, ending)
    // The default action ends us here; a PID 1 is spared by the kernel, and goes on to the next line.
  }
  process.exit(typeof ending === 'string' ? EXIT.signalBase + constants.signals[ending] : ending)
}

end(await main(process.argv.slice(2)))
