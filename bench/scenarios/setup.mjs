// From CONNECT to the first byte of the answer: with a full TLS handshake each time, with sessions that the gateway lets
// relays resume, with WebSockets that are upgraded already; on loopback, and 50 ms away.
import { openLoad } from '../harness/load.mjs'
import { Process } from '../harness/process.mjs'
import { OURS, PEER_NAMES } from './transfer.mjs'

export const name = 'setup'
export const about =
  'CONNECT to the first byte of the answer, one after the other; and how many a second, 8 at once'
export const rounds = 9

export const ROUND_TRIP_MS = 50
const ALL = [...OURS, 'naive', 'naive-shared', 'floor', ...PEER_NAMES]

const FAR = [...OURS, 'naive', 'naive-shared', 'floor', 'nginx', 'wstunnel', 'chisel']

const HANDSHAKES = {
  full: { title: 'full handshake', stage: { resumption: false }, participants: ALL },
  resumed: { title: 'sessions may be resumed', stage: { resumption: true }, participants: ALL },
  // With a gap, in which a relay can fill its pool again.
  prewarmed: {
    title: 'prewarmed',
    stage: { resumption: true, relay: { prewarm: 16 } },
    participants: ['native', 'node'],
    gapMs: 20,
  },
}

export function cases({ quick }) {
  const all = [false, true].flatMap((far) =>
    Object.entries(HANDSHAKES).map(([kind, { title, stage, participants, gapMs = 0 }]) => ({
      id: `setup/wss/${kind}${far ? '/far' : ''}`,
      title: `${title}${far ? `, ${ROUND_TRIP_MS} ms away` : ''}`,
      key: { scheme: 'wss', kind, far },
      scheme: 'wss',
      stage,
      participants: far ? participants.filter((name) => FAR.includes(name)) : participants,
      // So far away there is little else that varies.
      ...(far && { mostRounds: kind === 'prewarmed' ? 9 : 5 }),
      metrics: {
        p50: { unit: 'ms', better: 'less', text: 'p50, ms' },
        p99: { unit: 'ms', better: 'less', text: 'p99, ms' },
        rate: { unit: '1/s', better: 'more', text: 'a second' },
      },
      ...(far && { around: delayed }),
      measure: (relay, { programs }) => connect(programs, relay, { far, quick, gapMs }),
    })),
  )
  return quick ? all.filter(({ key }) => key.kind === (key.far ? 'prewarmed' : 'full')) : all
}

async function connect(programs, relay, { far, quick, gapMs }) {
  const run = async (settings) => {
    const load = await openLoad(programs, relay.port, { kind: 'connect', ...settings })
    try {
      load.go()
      return await load.done()
    } finally {
      await load.stop()
    }
  }
  const few = far || quick
  // A gateway far away would answer the next CONNECT before the pool is full again.
  const gap = gapMs === 0 ? 0 : gapMs * (far ? 10 : 1)
  const alone = await run({ connects: few ? 12 : 100, concurrency: 1, 'gap-us': gap * 1000 })
  const many = await run({ connects: few ? 40 : 80, concurrency: 8 })
  return {
    p50: alone.firstByte.p50 / 1000,
    p99: alone.firstByte.p99 / 1000,
    rate: many.opened / many.seconds,
  }
}

// The way to the gateway's port of this case, made longer.
async function delayed({ programs, gateway, resumption }, work) {
  const to = `${resumption ? gateway.ports.tls : gateway.ports.full}`
  const command = [programs.delay, '--to', to, '--round-trip-ms', `${ROUND_TRIP_MS}`]
  const process = new Process(command, { place: 'load' })
  try {
    const { port } = await process.next()
    return await work({ port })
  } finally {
    await process.stop()
  }
}
