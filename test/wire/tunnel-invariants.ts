/** A tunnel under random events, and what has to hold of its actions whatever came in whatever order. */
import fc from 'fast-check'
import { ProxyError } from '#src/errors.js'
import { ACCEPTED, downTo, HEAD, REFUSED, type Recorded, type RecordedTunnel } from './tunnel-recorder.js'

/** What may happen to a tunnel; `pass` moves the clock, with reading paused or not. */
export type Event =
  | (typeof EVENTS)[number]
  | readonly ['client' | 'gateway', string]
  | readonly ['pass', number, boolean]

/** Makes an event happen to a tunnel, and notes what each side has sent that the other should get. */
export function happen(
  recorded: RecordedTunnel,
  event: Event,
  sent: { client: string; gateway: string },
): void {
  const { tunnel } = recorded
  const { phase } = tunnel
  if (typeof event !== 'string') {
    if (event[0] === 'pass') return recorded.pass(event[1], { paused: event[2] })
    if (event[0] === 'client') {
      if (['head', 'dialing', 'waiting', 'answering', 'open'].includes(phase)) sent.client += event[1]
      return recorded.client(event[1])
    }
    // A gateway speaks only once the upgrade is done.
    if (['head', 'dialing'].includes(phase)) return
    if (phase !== 'over') sent.gateway += event[1]
    return recorded.gateway(event[1])
  }
  if (event === 'gatewayFailed') return tunnel.gatewayFailed(new ProxyError('ERR_GATEWAY_LOST', 'lost'))
  if (event === 'gatewayEnd' && phase === 'head') return
  tunnel[event]()
}

/** Throws where the actions of a tunnel that is over break an invariant. */
export function checkInvariants(
  { actions, tunnel }: RecordedTunnel,
  sent: { client: string; gateway: string },
): void {
  const count = (...names: Recorded[0][]) => actions.filter(([action]) => names.includes(action)).length
  const at = (name: Recorded[0]) => actions.findIndex(([action]) => action === name)
  const check = (holds: boolean, what: string) => {
    if (!holds) throw new Error(`${what}: ${JSON.stringify(actions)}`)
  }
  check(tunnel.phase === 'over', 'a tunnel comes to its end')
  check(count('release') === 1 && actions.at(-1)?.[0] === 'release', 'released once, last')
  check(count('endClient', 'resetClient', 'answer', 'serve') === 1, 'the client sees one end')
  check(
    count('answer') === 0 || count('writeDown') === 0,
    'no byte of ours beside the gateway’s (invariant 4)',
  )
  check(
    downTo(actions) === sent.gateway,
    'what came from the gateway went down, all and in order (invariant 5)',
  )
  const up = actions.filter(([action]) => action === 'sendUp').map(([, text]) => text)
  const body = sent.client.slice(sent.client.indexOf('\r\n\r\n') + 4)
  const expected = count('sendConnect') === 1 ? body : ''
  check(up.join('') === expected, 'what came with and after the head went up, all and in order (invariant 5)')
  check(
    count('closeGateway') === 0 || count('sendConnect') === 0 || at('sendConnect') < at('closeGateway'),
    'Close last',
  )
  const firstUp = actions.findIndex(([action]) => ['sendUp', 'sendKeepalive', 'sendPing'].includes(action))
  check(firstUp < 0 || (at('sendConnect') >= 0 && at('sendConnect') < firstUp), 'the CONNECT chunk is first')
  const refusal = actions.findIndex(([action, code]) => action === 'record' && code === 'ERR_GATEWAY_REFUSED')
  const ends = [refusal, at('closeGateway'), at('abortGateway')].filter((index) => index >= 0)
  const lastUp = actions.findLastIndex(([action]) => ['sendUp', 'sendKeepalive', 'sendPing'].includes(action))
  check(
    ends.every((end) => lastUp < end),
    'nothing goes up after a refusal, a Close or an abort',
  )
  check(count('dial') <= 1 && count('sendConnect') <= 1, 'one gateway connection, one CONNECT')
  check(count('closeGateway') <= 1 && count('abortGateway') <= 1, 'closed once')
  const failed = count('resetClient') === 1 && count('dial') === 1
  check(!failed || count('abortGateway') === 1, 'a broken tunnel is broken on both sides')
  check(count('answer') === 0 || count('record') >= 1, 'no failure goes unrecorded')
}

const EVENTS = [
  'clientEnd',
  'clientBroken',
  'gatewayOpen',
  'gatewayPong',
  'gatewayEnd',
  'gatewayFailed',
  'shutdown',
] as const
export const anyEvent: fc.Arbitrary<Event> = fc.oneof(
  {
    weight: 6,
    arbitrary: fc
      .constantFrom(HEAD, HEAD.slice(0, 9), HEAD.slice(9), 'data', 'GET / HTTP/1.1\r\n\r\n')
      .map((text) => ['client', text] as const),
  },
  { weight: 4, arbitrary: fc.constant('gatewayOpen' as const) },
  {
    weight: 5,
    arbitrary: fc
      .constantFrom(ACCEPTED, REFUSED, ACCEPTED.slice(0, 7), ACCEPTED.slice(7), 'data', '')
      .map((text) => ['gateway', text] as const),
  },
  {
    weight: 2,
    arbitrary: fc.tuple(
      fc.constant('pass' as const),
      fc.constantFrom(1, 4_000, 20_000, 61_000),
      fc.boolean(),
    ),
  },
  { weight: 1, arbitrary: fc.constantFrom(...EVENTS) },
)
