/**
 * Who takes part: how each relay is started, as a process of its own, against one of the gateway's ports.
 *
 * A participant is `{ label, less, schemes, start }`. `less` says what it does not do that a relay of this protocol
 * must; `schemes` are the ways to the gateway that it has; `start(stage)` gives `{ pid, port, stop }` or throws Absent.
 * A stage is `{ programs, gateway, scheme, resumption, relay, limits, port, before, node }`.
 */
import { join } from 'node:path'
import { root } from './harness/build.mjs'
import { naiveModules, naiveVersion } from './harness/naive-modules.mjs'
import { Absent, announced, gatewayPort } from './harness/relay.mjs'
import { PEERS } from './peers/peers.mjs'

const BOTH = ['ws', 'wss']
const DIST = join(root, 'dist')

export const PARTICIPANTS = {
  native: { label: 'ours, native', schemes: BOTH, start: (stage) => ours(stage, 'native', DIST) },
  node: { label: 'ours, portable', schemes: BOTH, start: (stage) => ours(stage, 'node', DIST) },
  before: {
    label: 'ours, portable, of --before',
    schemes: BOTH,
    start: (stage) => ours(stage, 'node', stage.before),
  },
  'native-before': {
    label: 'ours, native, of --before',
    schemes: BOTH,
    start: (stage) => ours(stage, 'native', stage.before),
  },
  naive: {
    label: 'ws + node:net',
    version: naiveVersion,
    schemes: BOTH,
    start: (stage) => naive(stage, false),
  },
  'naive-shared': {
    label: 'ws + node:net, shared TLS context',
    version: naiveVersion,
    schemes: ['wss'],
    start: (stage) => naive(stage, true),
  },
  floor: {
    label: 'C++ and OpenSSL',
    less: 'no limits, deadlines or errors',
    schemes: BOTH,
    start: (stage) =>
      announced([
        stage.programs['tls-relay'],
        stage.scheme,
        gatewayPort(stage),
        ...(stage.scheme === 'wss' ? [stage.gateway.caFile] : []),
      ]),
  },
  copy: {
    label: 'C copy loop',
    less: 'TCP to TCP: no WebSocket, no TLS, no CONNECT',
    schemes: ['ws'],
    start: (stage) => announced([stage.programs.copy, gatewayPort(stage)]),
  },
  host: {
    label: 'ours, in the host’s main thread',
    schemes: ['wss'],
    start: (stage) => host(stage, { relay: { thread: false } }),
  },
  'host-thread': {
    label: 'ours, in a thread of its own',
    schemes: ['wss'],
    start: (stage) => host(stage, { relay: { thread: true } }),
  },
  ...PEERS,
}

/** Starts a participant and waits until it listens. */
export async function startParticipant(name, stage) {
  const participant = PARTICIPANTS[name]
  if (!participant.schemes.includes(stage.scheme)) throw new Absent(`does no ${stage.scheme}`)
  return { name, ...(await participant.start(stage)) }
}

function baseUrl(stage) {
  return `${stage.scheme === 'ws' ? 'http' : 'https'}://127.0.0.1:${gatewayPort(stage)}`
}

function ours(stage, engine, dist) {
  if (dist === undefined) throw new Absent('no --before')
  const settings = {
    url: baseUrl(stage),
    caFile: stage.gateway.caFile,
    engine,
    dist,
    relay: stage.relay,
    limits: stage.limits,
  }
  return announced([nodeProgram(stage), join(root, 'bench/relays/ours.mjs'), JSON.stringify(settings)])
}

function host(stage, options) {
  const settings = {
    url: baseUrl(stage),
    caFile: stage.gateway.ownCaFile,
    options,
    dist: DIST,
    folder: stage.gateway.folder,
  }
  return announced([nodeProgram(stage), join(root, 'bench/relays/host.mjs'), JSON.stringify(settings)])
}

function naive(stage, shared) {
  const settings = { url: baseUrl(stage), caFile: stage.gateway.caFile, modules: naiveModules(), shared }
  return announced([nodeProgram(stage), join(root, 'bench/relays/naive.mjs'), JSON.stringify(settings)])
}

function nodeProgram(stage) {
  return stage.node ?? process.execPath
}
