/** Compiled test files run as programs of their own: on another runtime, with another engine. */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { fileURLToPath } from 'node:url'

/** The compiled test file of a name such as `native/framing`. */
export function compiledTest(name: string): string {
  return fileURLToPath(new URL(`../${name}.test.js`, import.meta.url))
}

/** Runs it to its end; what it wrote to both its outputs, and how it ended. */
export async function run(command: string, args: readonly string[], extra: NodeJS.ProcessEnv = {}) {
  // The runner's own wiring must not reach another runtime.
  const { NODE_OPTIONS: _, ...env } = process.env
  const child = spawn(command, args, {
    env: { ...env, ...extra, TAP: '1' },
    stdio: ['ignore', 'pipe', 'pipe'],
  })
  let output = ''
  child.stdout.on('data', (bytes) => (output += bytes))
  child.stderr.on('data', (bytes) => (output += bytes))
  const [status] = await once(child, 'close')
  return { status, output }
}
