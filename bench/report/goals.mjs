/** What the relay is to reach, each as a ratio of two participants of one run, and whether it does. */
import { ratio } from '../harness/statistics.mjs'
import { markdown, ratioText } from './tables.mjs'

const both = (id) => [`${id}/up`, `${id}/down`]

/** `of` ÷ `to` in `metric` of each of the cases is to be at most `most`. */
const RELAY_GOALS = [
  ...goal('wss: CPU against the C++ and OpenSSL relay', 'native', 'floor', 1.1, both('bulk/wss')),
  ...goal('wss: CPU against the ws relay (stretch .50)', 'native', 'naive', 0.58, both('bulk/wss')),
  ...['nginx', 'wstunnel', 'chisel'].flatMap((peer) =>
    goal(`wss: CPU against ${peer}`, 'native', peer, 1, both('bulk/wss')),
  ),
  ...goal('ws: CPU against the ws relay', 'native', 'naive', 0.5, both('bulk/ws')),
  ...goal('ws: CPU against the C copy loop', 'native', 'copy', 1.4, both('bulk/ws')),
  ...goal('portable: CPU against the ws relay', 'node', 'naive', 0.85, [
    ...both('bulk/wss'),
    ...both('bulk/ws'),
  ]),
]

function goal(text, of, to, most, ids) {
  return ids.map((id) => ({ text, of, to, most, id, metric: 'cpu' }))
}

/** All goals that the results say something of. */
export function goals(results) {
  const found = new Map(results.cases.map((one) => [one.id, one]))
  return RELAY_GOALS.flatMap(({ text, of, to, most, id, metric }) => {
    const a = found.get(id)?.figures[of]?.[metric]
    const b = found.get(id)?.figures[to]?.[metric]
    if (!a || !b) return []
    const figure = ratio(a, b)
    return [{ text, id, most, figure, met: figure.median <= most }]
  })
}

export function goalsTable(results) {
  const rows = goals(results).map(({ text, id, most, figure, met }) => [
    text,
    id,
    `≤ ${most.toFixed(2)}`,
    ratioText(figure),
    met ? 'met' : '**not met**',
  ])
  return rows.length === 0
    ? 'None of the goals’ pairs took part in this run.\n'
    : markdown(['goal', 'case', 'wanted', 'ratio (quartiles; ends)', ''], rows)
}
