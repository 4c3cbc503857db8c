// `npm run bench:peers [-- NAME…]`: installs the relays that others made, as far as this machine's registries offer them.
// Debian's with apt (which wants root), the rest into .cache/bench/peers. What cannot be had is said, and is no failure.
import { spawnSync } from 'node:child_process'
import { existsSync, mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { root } from '../../scripts/setup.mjs'
import { cache } from '../harness/build.mjs'
import { naiveModules } from '../harness/naive-modules.mjs'
import { CHISEL, PROXY_CHAIN, peersFolder, WSTUNNEL } from './places.mjs'

const apt = (...packages) => {
  // The services that Debian would start are not wanted: only the programs are.
  const env = { ...process.env, DEBIAN_FRONTEND: 'noninteractive', RUNLEVEL: '1' }
  run('apt-get', ['update', '-qq'])
  return run('apt-get', ['install', '-y', '-qq', '--no-install-recommends', ...packages], { env })
}

const INSTALLS = {
  naive: () => naiveModules() !== undefined,
  nginx: () =>
    existsSync('/usr/lib/nginx/modules/ngx_stream_module.so') || apt('nginx-light', 'libnginx-mod-stream'),
  haproxy: () => existsSync('/usr/sbin/haproxy') || apt('haproxy'),
  socat: () => existsSync('/usr/bin/socat') || apt('socat'),
  bun: () => run(process.execPath, [join(root, 'scripts/runtimes.mjs')]),
  'proxy-chain': () => {
    const folder = join(peersFolder, 'proxy-chain')
    mkdirSync(folder, { recursive: true })
    writeFileSync(join(folder, 'package.json'), '{ "private": true }\n')
    const flags = ['--no-audit', '--no-fund', '--ignore-scripts', '--loglevel=error']
    return run('npm', ['install', ...flags, PROXY_CHAIN.spec], { cwd: folder })
  },
  // Compiles for minutes.
  wstunnel: () =>
    existsSync(WSTUNNEL.program) ||
    run('cargo', ['install', ...WSTUNNEL.spec, '--locked', '--root', join(peersFolder, 'cargo')]),
  chisel: () =>
    existsSync(CHISEL.program) ||
    run('go', ['install', CHISEL.spec], { env: { ...process.env, GOBIN: join(peersFolder, 'go') } }),
}

mkdirSync(join(cache, 'peers'), { recursive: true })
const names = process.argv.slice(2)
const wrong = names.find((name) => !Object.hasOwn(INSTALLS, name))
if (wrong !== undefined) {
  console.error(`no peer ${wrong}: there are ${Object.keys(INSTALLS).join(', ')}`)
  process.exit(64)
}
for (const name of names.length > 0 ? names : Object.keys(INSTALLS)) {
  console.error(`${name} …`)
  let got = false
  try {
    got = INSTALLS[name]()
  } catch (error) {
    console.error(error.message)
  }
  console.log(`${name}: ${got ? 'installed' : 'not to be had here'}`)
}

function run(program, args, options = {}) {
  const { status, error } = spawnSync(program, args, { stdio: ['ignore', 2, 2], ...options })
  if (error) console.error(error.message)
  return status === 0
}
