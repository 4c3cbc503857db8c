// node bench/readme.mjs [RESULTS] [--check]     RESULTS: what `npm run bench -- --json` wrote (default: results/latest.json)
//
// Writes what is measured into the documents, between their markers: the tables of bench/README.md, the ratios of README.md,
// the picture bench/results/bulk.svg. With --check it writes nothing, and fails where one of them says something else.
import { existsSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { goalsTable } from './report/goals.mjs'
import { plot } from './report/plot.mjs'
import { ratiosTable } from './report/ratios.mjs'
import { absentTable, scenarioTable } from './report/tables.mjs'
import { SCENARIOS } from './scenarios/index.mjs'

const root = fileURLToPath(new URL('..', import.meta.url))
const check = process.argv.includes('--check')
const [file = join(root, 'bench/results/latest.json')] = process.argv
  .slice(2)
  .filter((word) => word !== '--check')
const results = JSON.parse(readFileSync(file, 'utf8'))

const wrong = [
  between('bench/README.md', 'results', allTables(results)),
  between('README.md', 'ratios', ratiosTable(results)),
  whole('bench/results/bulk.svg', plot(results, 'Bulk transfer through one tunnel')),
].filter(Boolean)
if (wrong.length > 0) {
  console.error(`not as in ${file}: ${wrong.join(', ')}; write them with node bench/readme.mjs`)
  process.exit(1)
}

// The name of a document that is to be other than it is; written, unless only checked.
function whole(name, wanted) {
  const path = join(root, name)
  if (existsSync(path) && readFileSync(path, 'utf8') === wanted) return undefined
  if (check) return name
  writeFileSync(path, wanted)
  console.log(`wrote ${name}`)
  return undefined
}

function between(name, marker, wanted) {
  const [begin, end] = ['begin', 'end'].map((edge) => `<!-- ${marker}:${edge} -->\n`)
  const text = readFileSync(join(root, name), 'utf8')
  const from = text.indexOf(begin)
  const to = text.indexOf(end)
  if (from < 0 || to < from) throw new Error(`${name} has no markers ${marker}:begin and ${marker}:end`)
  return whole(name, `${text.slice(0, from + begin.length)}\n${wanted}\n${text.slice(to)}`)
}

function allTables({ date, machine, participants, cases, quick }) {
  const where = `${date}, ${machine.cores} cores (${machine.cpu}), ${machine.kernel}, Node ${machine.node} with OpenSSL ${machine.nodeOpenssl}; the C++ tools with OpenSSL ${machine.openssl}${quick ? '; a quick run' : ''}. Load average before a case, on account of others too: ${loads(cases)}.`
  const sections = Object.values(SCENARIOS).flatMap((scenario) => {
    const measured = cases.filter((one) => one.scenario === scenario.name)
    if (measured.length === 0) return []
    const rounds = Math.max(0, ...measured.flatMap((one) => Object.values(one.figures).map(roundsOf)))
    return [
      `### ${scenario.name}\n\n${scenario.about}; ${rounds} rounds.\n\n${scenarioTable(measured, participants)}`,
    ]
  })
  const less = absentTable({ cases, participants }).replaceAll(/^## /gm, '### ')
  return [where, '', `### goals\n\n${goalsTable({ cases })}`, ...sections, less.trimEnd(), ''].join('\n')
}

function loads(cases) {
  const seen = cases.map((one) => one.loadBefore)
  return `${Math.min(...seen)} to ${Math.max(...seen)}`
}

function roundsOf(figures) {
  return Math.max(...Object.values(figures).map((each) => each.length))
}
