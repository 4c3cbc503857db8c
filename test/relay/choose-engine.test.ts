/** Which engine carries the bytes, here and in an installation that has no addon; and who tells. */
import { copyFileSync, cpSync, mkdirSync, symlinkSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import t, { type Test } from 'tap'
import { DEFAULT_LIMITS } from '#src/limits.js'
import { createLog } from '#src/log.js'
import { loadAddon } from '#src/platform/addon.js'
import { chooseEngine } from '#src/relay/choose-engine.js'
import { GatewayDialer } from '#src/relay/gateway-dialer.js'
import { CLI, enabledEnvironment, makeFolder, runToEnd, start, startProcess } from '../cli/program.js'
import { needingPrograms, programOf } from '../support/cached-program.js'
import { runtimeProgram } from '../support/runtimes.js'

const ROOT = fileURLToPath(new URL('../../', import.meta.url))
const PREBUILD = `prebuilds/${process.platform}-${process.arch}/upstreamproxy.node`
const WITH_ADDON = {
  skip: loadAddon().addon?.sockets === undefined && !process.env['CI'] && 'no addon with sockets here',
}
const bun = runtimeProgram('bun')

t.test(
  'auto takes the native engine where the addon loads; node and native are taken at their word',
  WITH_ADDON,
  async (t) => {
    const dialer = new GatewayDialer({ baseUrl: new URL('http://127.0.0.1:1'), secureContext: undefined })
    const options = { limits: DEFAULT_LIMITS, log: createLog({ level: 'silent', format: 'text' }) }
    t.equal(chooseEngine('auto', dialer, options).name, 'native')
    t.equal(chooseEngine('native', dialer, options).name, 'native')
    t.equal(chooseEngine('node', dialer, options).name, 'node')
  },
)

t.test(
  'the status document names the engine that was asked for, by option and by variable',
  WITH_ADDON,
  async (t) => {
    for (const [words, variables, engine] of [
      [[], {}, 'native'],
      [['--engine', 'auto'], {}, 'native'],
      [['--engine', 'native'], {}, 'native'],
      [['--engine', 'node'], {}, 'node'],
      [[], { UPSTREAMPROXY_ENGINE: 'node' }, 'node'],
      [['--engine', 'native'], { UPSTREAMPROXY_ENGINE: 'node' }, 'native'],
    ] as const) {
      const env = { ...(await enabledEnvironment(t)), ...variables }
      const program = start(t, ['serve', ...words], env)
      const { port } = JSON.parse((await program.shows(/.*\n/))[0])
      const status = await statusOf(port)
      t.equal(status.engine, engine, JSON.stringify([words, variables]))
      const implementation = engine === 'native' ? 'addon' : 'typescript'
      t.match(status.capabilities, { framing: { implementation }, 'socket-writes': { implementation } })
      program.process.kill('SIGTERM')
      t.match(await program.ended, { status: 0, err: '' })
    }
  },
)

t.test('without an addon auto and node take the portable engine', async (t) => {
  const cli = installation(t, {})
  for (const words of [[], ['--engine', 'auto'], ['--engine', 'node']]) {
    const program = startProcess(t, process.execPath, [cli, 'serve', ...words], await enabledEnvironment(t))
    const { port } = JSON.parse((await program.shows(/.*\n/))[0])
    const { engine, capabilities } = await statusOf(port)
    t.equal(engine, 'node', words.join(' '))
    t.match(capabilities.framing, { implementation: 'typescript', why: /no addon here$/ })
    program.process.kill('SIGTERM')
    t.match(await program.ended, { status: 0, err: '' })
  }
})

for (const [title, files, reason] of [
  ['no addon', {}, 'there is no addon for it'],
  ['an addon that will not load', { [PREBUILD]: 'garbage' }, 'upstreamproxy.node: file too short'],
] as const) {
  t.test(`with ${title}, native is ERR_ENGINE, and says why`, async (t) => {
    const cli = installation(t, files)
    const env = await enabledEnvironment(t)

    // `serve` stays up without a proxy, `serve --require` does not, `run` runs its command: all fail open with that code.
    const served = startProcess(t, process.execPath, [cli, 'serve', '--engine', 'native'], env)
    t.same(JSON.parse((await served.shows(/.*\n/))[0]), { enabled: false, reason: 'ERR_ENGINE' })
    served.process.kill('SIGTERM')
    const { status, err } = await served.ended
    t.equal(status, 0)
    t.match(err, `the native engine cannot be had here: `)
    t.match(err, reason)
    t.match(err, 'engine auto takes the portable one then')

    const required = startProcess(t, process.execPath, [cli, 'serve', '--require'], {
      ...(await enabledEnvironment(t)),
      UPSTREAMPROXY_ENGINE: 'native',
    })
    t.match(await required.ended, { status: 69, out: '{"enabled":false,"reason":"ERR_ENGINE"}\n' })

    const words = ['run', '--engine', 'native', '--', 'sh', '-c', 'echo "proxy: $HTTPS_PROXY"']
    const ran = startProcess(t, process.execPath, [cli, ...words], await enabledEnvironment(t))
    t.match(await ran.ended, { status: 0, out: 'proxy: \n', err: /ERR_ENGINE/ })
  })
}

t.test('init fails open with ERR_ENGINE, and leaves the environment as it was', async (t) => {
  const index = join(installation(t, {}), '../index.js')
  const script = `const { initUpstreamProxy } = await import(${JSON.stringify(index)})
    const { enabled, reason, env } = await initUpstreamProxy({ engine: 'native', log: () => undefined })
    console.log(JSON.stringify({ enabled, reason, same: JSON.stringify(env) === JSON.stringify(process.env) }))`
  const env = await enabledEnvironment(t)
  const host = startProcess(t, process.execPath, ['--input-type=module', '-e', script], env)
  t.match(await host.ended, {
    status: 0,
    out: '{"enabled":false,"reason":"ERR_ENGINE","same":true}\n',
  })
})

t.test('an engine that does not exist is a usage error, and names those that do', async (t) => {
  const { status, err } = await runToEnd(t, ['serve', '--engine', 'nativ'], await enabledEnvironment(t))
  t.equal(status, 64)
  t.match(err, /auto.*node.*native/)
})

t.test(
  'Bun has the addon, and not its sockets: auto is the portable engine, native is ERR_ENGINE',
  needingPrograms(bun),
  async (t) => {
    const served = startProcess(t, programOf(bun), [CLI, 'serve'], await enabledEnvironment(t))
    const { port } = JSON.parse((await served.shows(/.*\n/))[0])
    t.equal((await statusOf(port)).engine, 'node')
    served.process.kill('SIGTERM')
    t.equal((await served.ended).status, 0)

    const words = [CLI, 'serve', '--require', '--engine', 'native']
    const required = startProcess(t, programOf(bun), words, await enabledEnvironment(t))
    const { status, out, err } = await required.ended
    t.equal(status, 69)
    t.match(out, '"reason":"ERR_ENGINE"')
    t.match(err, 'this runtime lets no addon use its event loop')
  },
)

/** The program in a folder of its own, without an addon but for what `files` says. */
function installation(t: Test, files: Readonly<Record<string, string>>): string {
  const folder = makeFolder(t)
  symlinkSync(join(ROOT, 'node_modules'), join(folder, 'node_modules'))
  cpSync(join(ROOT, 'dist'), join(folder, 'dist'), { recursive: true })
  copyFileSync(join(ROOT, 'package.json'), join(folder, 'package.json'))
  for (const [place, content] of Object.entries(files)) {
    mkdirSync(join(folder, place, '..'), { recursive: true })
    writeFileSync(join(folder, place), content)
  }
  return join(folder, 'dist/cli.js')
}

async function statusOf(port: number) {
  const response = await fetch(`http://127.0.0.1:${port}/__upstreamproxy/status`)
  return (await response.json()) as {
    engine: string
    capabilities: Record<'framing' | 'socket-writes', { implementation: string; why: string }>
  }
}
