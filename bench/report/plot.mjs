/** Bulk results as a picture: a bar for each relay's CPU per GB as a ratio to the ws relay's, with quartiles and ends. */
import { ratio } from '../harness/statistics.mjs'
import { REFERENCE } from './tables.mjs'

/** An SVG document, for light and dark pages alike. */
export function plot({ cases, participants }, title) {
  const panels = cases
    .filter((one) => one.scenario === 'bulk' && one.figures[REFERENCE])
    .map((one) => ({ title: one.title, bars: barsOf(one, participants) }))
  const most = Math.max(
    1,
    ...panels.flatMap(({ bars }) => bars.map(({ ends }) => Math.min(ends[1], CLIPPED))),
  )
  const x = (value) => LEFT + (Math.min(value, most) / most) * WIDTH
  let y = TOP
  const parts = panels.map((panel) => {
    const start = y
    const rows = panel.bars.map((bar) => {
      y += ROW
      return row(bar, y, x)
    })
    const head = text(LEFT, start, panel.title, 'font-weight="bold"')
    const line = `<line x1="${round(x(1))}" y1="${start + 8}" x2="${round(x(1))}" y2="${y + 8}" stroke="#777" stroke-dasharray="3 3"/>`
    y += GAP
    return [head, ...rows, line].join('\n')
  })
  const note =
    'CPU per GB ÷ that of ws + node:net, same round. Bar: median. Thick: quartiles. Thin: ends. Less is better.'
  return `<svg xmlns="http://www.w3.org/2000/svg" width="${TOTAL}" height="${y}" viewBox="0 0 ${TOTAL} ${y}" font-family="sans-serif" font-size="12">
<title>${escaped(title)}</title>
<rect width="100%" height="100%" fill="#fff"/>
${text(16, 24, title, 'font-size="15" font-weight="bold"')}
${text(16, 42, note, 'fill="#555"')}
${parts.join('\n')}
</svg>
`
}

function barsOf(one, participants) {
  return Object.entries(one.figures)
    .map(([name, figures]) => ({
      name,
      label: participants[name]?.label ?? name,
      ...ratio(figures.cpu, one.figures[REFERENCE].cpu),
    }))
    .sort((a, b) => a.median - b.median)
}

function row({ name, label, median, quartiles, ends }, y, x) {
  const middle = y - 4
  const line = ([from, to], width) =>
    `<line x1="${round(x(from))}" y1="${middle}" x2="${round(x(to))}" y2="${middle}" stroke="#222" stroke-width="${width}"/>`
  return [
    text(LEFT - 8, y, label, 'text-anchor="end"'),
    `<rect x="${LEFT}" y="${y - 12}" width="${round(x(median) - LEFT)}" height="16" fill="${colourOf(name)}"/>`,
    ...(name === REFERENCE ? [] : [line(ends, 1), line(quartiles, 4)]),
    text(TOTAL - 16, y, median.toFixed(2), 'text-anchor="end"'),
  ].join('\n')
}

function colourOf(name) {
  if (name.startsWith('native')) return '#2b6cb0'
  if (name === 'node' || name === 'before') return '#63a4dd'
  if (name === REFERENCE) return '#d69e2e'
  return name === 'floor' || name === 'copy' ? '#48a878' : '#b8b8b8'
}

function text(x, y, words, more = '') {
  return `<text x="${x}" y="${y}" ${more}>${escaped(words)}</text>`
}

function escaped(words) {
  return words.replaceAll('&', '&amp;').replaceAll('<', '&lt;')
}

function round(value) {
  return Math.round(value * 10) / 10
}

const LEFT = 190
const WIDTH = 470
const TOTAL = 730
const TOP = 74
const ROW = 20
const GAP = 40
// One wild round must not make all bars short.
const CLIPPED = 1.6
