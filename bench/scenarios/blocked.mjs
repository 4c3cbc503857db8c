// A host program whose main thread is busy for 500 ms of every second, with the relay inside: what a tunnel feels of it.
import { openLoad } from '../harness/load.mjs'

export const name = 'blocked'
export const about =
  'ping-pong through a relay in a host program that blocks its main thread for 500 ms of every second'
export const rounds = 5
export const quickRounds = 1

export function cases({ quick }) {
  return [
    {
      id: 'blocked/wss',
      title: 'wss',
      key: { scheme: 'wss' },
      scheme: 'wss',
      warmUp: false,
      participants: ['host', 'host-thread'],
      metrics: {
        added: { unit: 'ms', better: 'less', text: 'p99 grows by, ms' },
        calm: { unit: 'ms', better: 'less', text: 'p99 not blocked, ms' },
        blocked: { unit: 'ms', better: 'less', text: 'p99 blocked, ms' },
      },
      async measure(relay, { programs }) {
        const seconds = quick ? 2 : 5
        const calm = await p99(programs, relay, 'calm', seconds)
        const blocked = await p99(programs, relay, 'block', seconds)
        relay.say('calm')
        return { added: blocked - calm, calm, blocked }
      },
    },
  ]
}

async function p99(programs, relay, mode, seconds) {
  relay.say(mode)
  // On schedule: who only waits for answers counts a standstill once, and p99 does not see it.
  const load = await openLoad(programs, relay.port, {
    kind: 'echo',
    'pause-us': 2000,
    'on-schedule': 1,
    seconds,
  })
  try {
    load.go()
    return (await load.done()).rounds.p99 / 1000
  } finally {
    await load.stop()
  }
}
