/** Runs stream-socket-program.ts, reads what it says, and connects to it. */
import { type ChildProcessByStdio, spawn } from 'node:child_process'
import { once } from 'node:events'
import * as net from 'node:net'
import type { Readable } from 'node:stream'
import { fileURLToPath } from 'node:url'
import type { Test } from 'tap'
import { eventually, within } from '../support/deadline.js'
import type { Scenario } from './stream-socket-program.js'

export class Program {
  readonly child: ChildProcessByStdio<null, Readable, Readable>
  /** its exit status, or the signal that ended it */
  readonly status: Promise<number | string>
  said = ''
  errors = ''
  readonly #t: Test

  constructor(t: Test, scenario: Scenario) {
    this.#t = t
    this.child = spawn(process.execPath, ['--expose-gc', PROGRAM, scenario], {
      // The runner's own wiring is no business of the program's.
      env: { PATH: process.env['PATH'] },
      stdio: ['ignore', 'pipe', 'pipe'],
    })
    this.child.stdout.on('data', (bytes) => (this.said += bytes))
    this.child.stderr.on('data', (bytes) => (this.errors += bytes))
    const closed = within(once(this.child, 'close'), `the end of ${scenario}`, 50_000)
    this.status = closed.then(([status, signal]) => signal ?? status)
    // Its own rejection belongs to those who ask.
    this.status.catch(() => undefined)
    t.teardown(() => this.child.kill('SIGKILL'))
  }

  async says(pattern: RegExp): Promise<RegExpExecArray> {
    await eventually(() => pattern.test(this.said), `${pattern} in ${this.said} ${this.errors}`)
    return pattern.exec(this.said)!
  }

  async connect(): Promise<net.Socket> {
    const [, port] = await this.says(/port (\d+)\n/)
    const far = net.connect({ port: Number(port), host: '127.0.0.1', allowHalfOpen: true })
    this.#t.teardown(() => far.destroy())
    far.on('error', () => undefined)
    await within(once(far, 'connect'), 'the far end')
    return far
  }
}

const PROGRAM = fileURLToPath(new URL('stream-socket-program.js', import.meta.url))
