/** Results as Markdown. */
import { ratio, summary } from '../harness/statistics.mjs'

/** The participant that ratios are taken against: the relay that most would write. */
export const REFERENCE = 'naive'

/** One scenario's cases: each participant's median, and its ratio to the reference with quartiles and ends. */
export function scenarioTable(cases, participants) {
  const metrics = Object.entries(cases[0]?.metrics ?? {})
  if (metrics.length === 0) return 'nothing was measured\n'
  const main = metrics[0][0]
  const head = ['case', 'relay', ...metrics.map(([, { text }]) => text), 'ratio to ws (quartiles; ends)']
  const rows = cases.flatMap((one) =>
    Object.entries(one.figures).map(([name, figures]) => {
      const medians = metrics.map(([metric]) =>
        figures[metric] ? short(summary(figures[metric]).median) : '',
      )
      // Where the first would take minutes to set up, the second stands in for it.
      const chosen = one.figures[REFERENCE] ? REFERENCE : 'naive-shared'
      const reference = one.figures[chosen]?.[main]
      const against = reference && name !== chosen ? ratioText(ratio(figures[main], reference)) : ''
      return [one.title, participants[name]?.label ?? name, ...medians, against]
    }),
  )
  return markdown(head, rows)
}

/** Who was not there, and why; what those that were there do less. */
export function absentTable({ cases, participants }) {
  const reasons = new Map()
  for (const one of cases)
    for (const [name, why] of Object.entries(one.absent)) if (!(name in participants)) reasons.set(name, why)
  const less = Object.values(participants).filter((one) => one.less)
  const parts = []
  if (less.length > 0)
    parts.push(
      `## what they do less\n\n${markdown(
        ['relay', 'version', 'less or otherwise'],
        less.map((one) => [one.label, one.version ?? '', one.less]),
      )}\n`,
    )
  if (reasons.size > 0) parts.push(`## not here\n\n${markdown(['participant', 'why'], [...reasons])}\n`)
  return parts.join('')
}

export function markdown(head, rows) {
  const line = (cells) => `| ${cells.join(' | ')} |\n`
  return line(head) + line(head.map(() => '---')) + rows.map(line).join('')
}

export function ratioText({ median, quartiles, ends }) {
  const text = (figure) => figure.toFixed(2)
  return `**${text(median)}** (${quartiles.map(text).join('–')}; ${ends.map(text).join('–')})`
}

export function short(figure) {
  return figure >= 100 ? figure.toFixed(0) : figure >= 10 ? figure.toFixed(1) : figure.toFixed(2)
}
