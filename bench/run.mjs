// `npm run bench`: relays side by side. Progress on stderr; Markdown tables on stdout; --json for the figures.
import { existsSync, readFileSync, writeFileSync } from 'node:fs'
import { loadavg } from 'node:os'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { setUp } from '../scripts/setup.mjs'
import { buildPrograms, root } from './harness/build.mjs'
import { startGateway } from './harness/gateway.mjs'
import { machine } from './harness/machine.mjs'
import { describe, measureCase } from './harness/runner.mjs'
import { PARTICIPANTS } from './participants.mjs'
import { goalsTable } from './report/goals.mjs'
import { absentTable, scenarioTable } from './report/tables.mjs'
import { SCENARIOS } from './scenarios/index.mjs'

const HELP = `npm run bench -- [OPTION…]        relays side by side, each a process of its own, in turns (A B C A B C …)

  --quick                     under two minutes: fewer rounds, bytes, scenarios and participants
  --scenario NAME[,NAME…]     only these: ${Object.keys(SCENARIOS).join(', ')}
  --case TEXT                 only cases whose id contains TEXT, such as wss/up
  --participants NAME[,…]     only these: ${Object.keys(PARTICIPANTS).join(', ')}
  --pairs N                   rounds of each case (default: what the scenario sets; 9 where something is claimed)
  --before DIST               dist folder of another build of ours, as the participants before and native-before
  --json FILE                 writes all figures, of all rounds, after each scenario
  --keep                      keeps the cases of FILE that this run does not measure
  --help

A ratio is the median over the rounds of figure ÷ figure of the same round, with its quartiles and ends. What cannot be
had here is listed with the reason; npm run bench:peers installs what the registries offer.
Bytes are checked at both ends: a relay that loses or alters one fails.

  npm run bench -- --scenario bulk --participants native,node,naive,floor
  npm run bench -- --json bench/results/latest.json && node bench/readme.mjs bench/results/latest.json
`

// Who takes part where there is little time.
const QUICK = ['native', 'node', 'naive', 'naive-shared', 'floor', 'copy', 'nginx', 'host', 'host-thread']

const { values: options } = parse()
if (options.help) {
  process.stdout.write(HELP)
  process.exit()
}
const list = (text) => text?.split(',').map((word) => word.trim())
const scenarios = choose(list(options.scenario), SCENARIOS, 'scenario') ?? defaultScenarios()
const participants =
  choose(list(options.participants), PARTICIPANTS, 'participant') ??
  (options.quick ? QUICK : Object.keys(PARTICIPANTS))
if (options.pairs !== undefined && !/^[1-9]\d*$/.test(options.pairs))
  refuse(`--pairs ${options.pairs}: a number from 1 on`)
const casesOf = (scenario) =>
  scenario.cases({ quick: options.quick }).filter((one) => one.id.includes(options.case ?? ''))
if (scenarios.every((scenario) => casesOf(scenario).length === 0))
  refuse(`no case has ${options.case} in its id`)
const progress = (text) => process.stderr.write(`${new Date().toISOString().slice(11, 19)} ${text}\n`)

// A fresh clone; otherwise what is built is what is measured.
if (!existsSync(join(root, 'dist')) || !existsSync(join(root, 'dist-test'))) setUp()
const earlier =
  options.keep && options.json && existsSync(options.json)
    ? JSON.parse(readFileSync(options.json, 'utf8'))
    : { participants: {}, cases: [] }
const programs = buildPrograms()
const gateway = await startGateway(programs)
const results = {
  format: 1,
  date: new Date().toISOString().slice(0, 10),
  machine: machine(),
  quick: options.quick,
  participants: {},
  cases: [],
}
try {
  for (const scenario of scenarios) {
    const rounds = Number(options.pairs ?? (options.quick ? (scenario.quickRounds ?? 3) : scenario.rounds))
    const cases = scenario
      .cases({ quick: options.quick })
      .filter((one) => one.id.includes(options.case ?? ''))
    const measured = []
    for (const one of cases)
      measured.push({
        scenario: scenario.name,
        // What else the machine had to do: figures of a busy one are worth less.
        loadBefore: Number(loadavg()[0].toFixed(1)),
        ...(await measureCase(one, {
          programs,
          gateway,
          before: options.before,
          rounds,
          participants,
          progress,
        })),
      })
    if (measured.length === 0) continue
    results.cases.push(...measured)
    const seen = new Set(results.cases.flatMap((one) => Object.keys(one.figures)))
    results.participants = describe(Object.keys(PARTICIPANTS).filter((name) => seen.has(name)))
    process.stdout.write(
      `## ${scenario.name}: ${scenario.about}\n\n${scenarioTable(measured, results.participants)}\n`,
    )
    save()
  }
} finally {
  await gateway.stop()
}
process.stdout.write(absentTable(results))
process.stdout.write(`## goals\n\n${goalsTable(results)}\n`)

function save() {
  if (options.json) writeFileSync(options.json, `${JSON.stringify(withKept(results), shortened)}\n`)
}

// Four digits are more than any of it is good for.
function shortened(_, value) {
  return typeof value === 'number' && !Number.isInteger(value) ? Number(value.toPrecision(4)) : value
}

function withKept(fresh) {
  const mine = new Set(fresh.cases.map((one) => one.id))
  const cases = [...earlier.cases.filter((one) => !mine.has(one.id)), ...fresh.cases]
  const place = (one) => Object.keys(SCENARIOS).indexOf(one.scenario)
  return {
    ...fresh,
    participants: { ...earlier.participants, ...fresh.participants },
    cases: cases.sort((a, b) => place(a) - place(b)),
  }
}

function parse() {
  try {
    return parseArgs({
      options: {
        quick: { type: 'boolean', default: false },
        scenario: { type: 'string' },
        case: { type: 'string' },
        participants: { type: 'string' },
        pairs: { type: 'string' },
        before: { type: 'string' },
        json: { type: 'string' },
        keep: { type: 'boolean', default: false },
        help: { type: 'boolean', default: false },
      },
    })
  } catch (error) {
    process.stderr.write(`${error.message}\n\n${HELP}`)
    process.exit(64)
  }
}

function refuse(why) {
  process.stderr.write(`${why}\n`)
  process.exit(64)
}

function choose(names, known, what) {
  const wrong = names?.find((name) => !Object.hasOwn(known, name))
  if (wrong !== undefined) refuse(`no ${what} ${wrong}: there are ${Object.keys(known).join(', ')}`)
  return what === 'scenario' ? names?.map((name) => known[name]) : names
}

function defaultScenarios() {
  const all = Object.values(SCENARIOS)
  return options.quick ? all.filter((scenario) => scenario.quick !== false) : all
}
