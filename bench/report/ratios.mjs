/** The few ratios that the project's README quotes. No absolute figure: those belong to a machine. */
import { ratio } from '../harness/statistics.mjs'
import { markdown } from './tables.mjs'

const ROWS = [
  ['CPU per GB, `wss`, up', 'bulk/wss/up', 'cpu'],
  ['CPU per GB, `wss`, down', 'bulk/wss/down', 'cpu'],
  ['CPU per GB, `ws`, up', 'bulk/ws/up', 'cpu'],
  ['CPU per GB, `ws`, down', 'bulk/ws/down', 'cpu'],
  ['CONNECT to first byte, full TLS handshake', 'setup/wss/full', 'p50'],
  ['memory of an idle tunnel, `wss`', 'idle/wss/1000', 'perTunnel'],
]
const COLUMNS = [
  { ours: 'native', other: 'naive', title: 'native ÷ `ws` and `node:net`' },
  { ours: 'native', other: 'floor', title: 'native ÷ C++ and OpenSSL' },
  { ours: 'native', other: 'nginx', title: 'native ÷ nginx (no WebSocket)' },
  { ours: 'node', other: 'naive', title: 'portable ÷ `ws` and `node:net`' },
]

/** Our engines ÷ others, median of the rounds' ratios; empty where one was not measured. */
export function ratiosTable({ cases }) {
  const figuresOf = (id, name, metric) => cases.find((one) => one.id === id)?.figures[name]?.[metric]
  const rows = ROWS.map(([text, id, metric]) => [
    text,
    ...COLUMNS.map(({ ours, other }) => {
      // Without a TLS context for each tunnel, which no machine has the patience for a thousand times.
      const against = other === 'naive' && metric === 'perTunnel' ? 'naive-shared' : other
      const [a, b] = [figuresOf(id, ours, metric), figuresOf(id, against, metric)]
      return a && b ? ratio(a, b).median.toFixed(2) : ''
    }),
  ])
  const used = COLUMNS.map((_, at) => rows.some((row) => row[at + 1] !== ''))
  const kept = (cells) => [cells[0], ...cells.slice(1).filter((_, at) => used[at])]
  return markdown(
    kept(['', ...COLUMNS.map(({ title }) => title)]),
    rows.filter((row) => row.slice(1).some((cell) => cell !== '')).map(kept),
  )
}
