/**
 * Relays that others made, each set up as its documentation has it for this work, with the buffers that suited it best.
 *
 * Those that do not speak wire protocol v1 lead to the gateway as they can, and the CONNECT is answered behind them: the
 * load generator and the bytes are the same. `less` says what that spares them, or adds.
 */
import { execFileSync } from 'node:child_process'
import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { Absent, announced, freePort, gatewayPort, listeningOn } from '../harness/relay.mjs'
import { haproxyConfiguration, nginxConfiguration } from './configurations.mjs'
import { CHISEL, PROXY_CHAIN, WSTUNNEL } from './places.mjs'
import { throughServer } from './through-server.mjs'

const here = (name) => fileURLToPath(new URL(name, import.meta.url))
const TLS_ONLY = 'TCP to TLS: no CONNECT, no WebSocket, no chunks'

export const PEERS = {
  nginx: {
    label: 'nginx stream',
    less: TLS_ONLY,
    schemes: ['wss'],
    version: () => versionLine('/usr/sbin/nginx', '-v'),
    start: (stage) =>
      onPort('/usr/sbin/nginx', (port) => ['-c', nginxConfiguration(stage, port), '-e', 'stderr']),
  },
  haproxy: {
    label: 'haproxy',
    less: TLS_ONLY,
    schemes: ['wss'],
    version: () => versionLine('/usr/sbin/haproxy', '-v'),
    start: (stage) =>
      onPort('/usr/sbin/haproxy', (port) => ['-db', '-q', '-f', haproxyConfiguration(stage, port)]),
  },
  socat: {
    label: 'socat',
    less: `${TLS_ONLY}; a process for each connection`,
    schemes: ['wss'],
    version: () => versionLine('/usr/bin/socat', '-V', 1),
    start: (stage) =>
      onPort('/usr/bin/socat', (port) => [
        ...['-b', '262144', `TCP-LISTEN:${port},bind=127.0.0.1,fork,reuseaddr,nodelay,backlog=1024`],
        `OPENSSL:127.0.0.1:${gatewayPort(stage)},cafile=${stage.gateway.caFile},verify=1,nodelay`,
      ]),
  },
  'proxy-chain': {
    label: 'proxy-chain',
    less: 'CONNECT to CONNECT over TLS: no WebSocket, no chunks',
    schemes: ['wss'],
    version: () => JSON.parse(readFileSync(join(PROXY_CHAIN.folder, PROXY_CHAIN.manifest), 'utf8')).version,
    start(stage) {
      if (!existsSync(join(PROXY_CHAIN.folder, PROXY_CHAIN.manifest))) throw notInstalled('proxy-chain')
      const settings = { modules: PROXY_CHAIN.folder, gatewayPort: gatewayPort(stage) }
      const env = { NODE_EXTRA_CA_CERTS: stage.gateway.ownCaFile }
      return announced([process.execPath, here('proxy-chain-relay.mjs'), JSON.stringify(settings)], { env })
    },
  },
  bun: {
    label: 'Bun.listen and WebSocket',
    less: 'the whole protocol, without limits or backpressure to the gateway',
    schemes: ['ws', 'wss'],
    version: () => versionLine(bunProgram(), '--version'),
    start(stage) {
      const url = `${stage.scheme}://127.0.0.1:${gatewayPort(stage)}`
      return announced([
        bunProgram(),
        here('bun-relay.mjs'),
        JSON.stringify({ url, caFile: stage.gateway.caFile }),
      ])
    },
  },
  wstunnel: {
    label: 'wstunnel',
    less: 'no CONNECT; WebSocket to its own server; does not verify TLS',
    schemes: ['ws', 'wss'],
    version: () => versionLine(WSTUNNEL.program, '--version'),
    start: (stage) =>
      throughServer(installed('wstunnel', WSTUNNEL.program), {
        server: (port) => [
          'server',
          ...(stage.scheme === 'wss'
            ? ['--tls-certificate', stage.gateway.certFile, '--tls-private-key', stage.gateway.keyFile]
            : []),
          `${stage.scheme}://127.0.0.1:${port}`,
        ],
        client: (port, serverPort) => [
          ...['client', '-L', `tcp://127.0.0.1:${port}:127.0.0.1:${stage.gateway.ports.plain}`],
          `${stage.scheme}://127.0.0.1:${serverPort}`,
        ],
      }),
  },
  chisel: {
    label: 'chisel',
    less: 'no CONNECT; all tunnels in one SSH connection inside one WebSocket, to its own server',
    schemes: ['wss'],
    version: () => versionLine(CHISEL.program, '--version'),
    start: (stage) =>
      throughServer(installed('chisel', CHISEL.program), {
        server: (port) => [
          ...['server', '--host', '127.0.0.1', '--port', `${port}`],
          ...['--tls-cert', stage.gateway.certFile, '--tls-key', stage.gateway.keyFile],
        ],
        client: (port, serverPort) => [
          ...['client', '--tls-ca', stage.gateway.ownCaFile, `https://localhost:${serverPort}`],
          `127.0.0.1:${port}:127.0.0.1:${stage.gateway.ports.plain}`,
        ],
      }),
  },
}

async function onPort(program, options) {
  installed(program.split('/').at(-1), program)
  const port = await freePort()
  return listeningOn(port, [program, ...options(port)])
}

function installed(name, program) {
  if (!existsSync(program)) throw notInstalled(name)
  return program
}

function notInstalled(name) {
  return new Absent(`not installed: npm run bench:peers -- ${name}`)
}

function bunProgram() {
  const file = here('../../.cache/runtimes/bun/program')
  return installed('bun', existsSync(file) ? readFileSync(file, 'utf8') : file)
}

// What a program says of itself, on whichever stream, without its name around it.
function versionLine(program, flag, line = 0) {
  const said = execFileSync('/bin/sh', ['-c', `'${program}' ${flag} 2>&1`], { encoding: 'utf8' })
  return /\d+\.\d+[\w.]*/.exec(said.split('\n')[line])?.[0]
}
