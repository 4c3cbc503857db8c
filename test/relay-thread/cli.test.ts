/** `run` and `serve` have nothing that their main thread could be kept from. */
import t, { type Test } from 'tap'
import type { RelayStatus } from '#src/index.js'
import { CLI, type Environment, enabledEnvironment, runToEnd, start } from '../cli/program.js'

t.test('serve has no thread for its relay, unless it is asked for', async (t) => {
  const env = await enabledEnvironment(t)
  t.equal(await threadOfServe(t, [], env), 'host')
  t.equal(await threadOfServe(t, ['--relay-thread'], await enabledEnvironment(t)), 'own')
  const asked = { ...(await enabledEnvironment(t)), UPSTREAMPROXY_RELAY_THREAD: '1' }
  t.equal(await threadOfServe(t, [], asked), 'own')
})

t.test('run has none either', async (t) => {
  for (const [words, thread] of [
    [[], 'host'],
    [['--relay-thread'], 'own'],
  ] as const) {
    const all = ['run', ...words, process.execPath, CLI, 'status']
    const { status, out } = await runToEnd(t, all, await enabledEnvironment(t))
    t.equal(status, 0)
    t.equal((JSON.parse(out) as RelayStatus).thread, thread)
  }
})

async function threadOfServe(t: Test, words: readonly string[], env: Environment): Promise<string> {
  const program = start(t, ['serve', ...words], env)
  const { port } = JSON.parse((await program.shows(/.*\n/))[0])
  const response = await fetch(`http://127.0.0.1:${port}/__upstreamproxy/status`)
  const { thread } = (await response.json()) as RelayStatus
  program.process.kill('SIGTERM')
  t.equal((await program.ended).status, 0)
  return thread
}
