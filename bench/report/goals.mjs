/** What the relay is to reach, read off one run: ratios of two participants' figures, and a few figures as they are. */
import { ratio, summary } from '../harness/statistics.mjs'
import { ROUND_TRIP_MS } from '../scenarios/setup.mjs'
import { markdown, short } from './tables.mjs'

const both = (id) => [`${id}/up`, `${id}/down`]

/** `a` ÷ `b` (or `a` alone) in each of the cases `ids` is to be at most `most`. A figure is `[participant, metric]`. */
const GOALS = [
  against('wss: CPU ÷ the C++ and OpenSSL relay’s', 'native', 'floor', 1.1, both('bulk/wss')),
  against('wss: CPU ÷ the ws relay’s', 'native', 'naive', 0.58, both('bulk/wss')),
  against('wss: CPU ÷ the ws relay’s, stretch', 'native', 'naive', 0.5, both('bulk/wss')),
  ...['nginx', 'wstunnel', 'chisel'].map((peer) =>
    against(`wss: CPU ÷ ${peer}’s`, 'native', peer, 1, both('bulk/wss')),
  ),
  against('ws: CPU ÷ the ws relay’s', 'native', 'naive', 0.5, both('bulk/ws')),
  against('ws: CPU ÷ the C copy loop’s', 'native', 'copy', 1.4, both('bulk/ws')),
  ...['naive', 'wstunnel'].map((other) => ({
    text: `CONNECT to first byte, p50, full handshake ÷ ${other === 'naive' ? 'the ws relay' : other}’s`,
    a: ['native', 'p50'],
    b: [other, 'p50'],
    most: other === 'naive' ? 0.5 : 1,
    ids: ['setup/wss/full'],
  })),
  {
    text: `prewarmed, ${ROUND_TRIP_MS} ms away: CONNECT to first byte, p50, in round trips`,
    a: ['native', 'p50'],
    per: ROUND_TRIP_MS,
    most: 1.1,
    ids: ['setup/wss/prewarmed/far'],
  },
  {
    text: 'wss: CPU with 1,000 tunnels ÷ with 1',
    a: ['native', 'cpu1000'],
    b: ['native', 'cpu1'],
    most: 1.2,
    ids: both('tunnels/wss'),
  },
  { text: 'idle wss tunnel, KB', a: ['native', 'perTunnel'], most: 32, ids: ['idle/wss/5000'] },
  { text: 'interactive p99 beside 4 bulk, ms', a: ['native', 'p99'], most: 10, ids: ['interactive/wss/4'] },
  {
    text: 'main thread blocked: what p99 grows by, ms',
    a: ['host-thread', 'added'],
    most: 5,
    ids: ['blocked/wss'],
  },
  against('portable: CPU ÷ the ws relay’s', 'node', 'naive', 0.85, [...both('bulk/wss'), ...both('bulk/ws')]),
]

function against(text, of, to, most, ids) {
  return { text, a: [of, 'cpu'], b: [to, 'cpu'], most, ids }
}

/** Every goal that the results say something of, with its figure. */
export function goals({ cases }) {
  return GOALS.flatMap(({ text, a, b, per = 1, most, ids }) =>
    ids.flatMap((id) => {
      const figures = cases.find((one) => one.id === id)?.figures
      const [ours, theirs] = [a, b].map((which) => which && figures?.[which[0]]?.[which[1]])
      if (!ours || (b && !theirs)) return []
      const figure = b ? ratio(ours, theirs) : summary(ours.map((each) => each / per))
      return [{ text, id, most, figure, met: figure.median <= most }]
    }),
  )
}

export function goalsTable(results) {
  const rows = goals(results).map(({ text, id, most, figure, met }) => [
    text,
    id,
    `≤ ${most}`,
    `**${short(figure.median)}** (${figure.quartiles.map(short).join('–')}; ${figure.ends.map(short).join('–')})`,
    met ? 'met' : '**not met**',
  ])
  return rows.length === 0
    ? 'None of what the goals compare took part in this run.\n'
    : markdown(['goal', 'case', 'wanted', 'figure (quartiles; ends)', ''], rows)
}
