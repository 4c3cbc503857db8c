/** The words of the demo, for a terminal of 80 columns and more. */
import type { Claim } from './claims.js'
import type { Observed } from './observe.js'
import { RULE, type Stage } from './stage.js'

export interface Style {
  heading(text: string): string
  /** what the gateway added */
  added(text: string): string
  good(text: string): string
  bad(text: string): string
  aside(text: string): string
}

export const plainStyle: Style = { heading: same, added: same, good: same, bad: same, aside: same }
export const terminalStyle: Style = {
  heading: sgr(1),
  added: sgr(33),
  good: sgr(32),
  bad: sgr(31),
  aside: sgr(2),
}

/** Who takes part, printed before anything happens. */
export function opening({ gateway, origin }: Stage, style: Style): string {
  return `
${style.heading('A program calls an API with a key that it never holds')}

  curl ──CONNECT──▶ relay ══WebSocket, TLS══▶ gateway ──HTTPS──▶ origin
  ╰───── the sandbox ─────╯                  ╰────── the organisation ──────╯
  ${style.aside(`gateway at ${gateway.url}, origin at https://127.0.0.1:${origin.port}, all on this machine`)}
`
}

/** What happened, in four scenes. */
export function scenes(stage: Stage, observed: Observed, style: Style): string {
  return [
    scene(1, 'What the sandbox runs, and what the client sends', whatWasSent(observed, style), style),
    scene(2, 'What the origin receives', whatArrived(stage, observed, style), style),
    scene(3, 'What the audit keeps', whatIsRecorded(observed, style), style),
    scene(4, 'Which variables the client had from the relay', whichVariables(stage, observed, style), style),
  ].join('')
}

/** Each claim with its check, the times, and where to go from here. */
export function verdict(
  claims: readonly Claim[],
  { observed: { times }, stage, tookMs }: { observed: Observed; stage: Stage; tookMs: number },
  style: Style,
): string {
  const lines = claims.map(({ text, holds, instead }) =>
    holds
      ? `  ${style.good('✓')} ${text}`
      : `  ${style.bad(`✗ ${text}`)}${instead ? `\n      instead: ${instead}` : ''}`,
  )
  const failed = claims.filter(({ holds }) => !holds).length
  const end =
    failed === 0
      ? `${style.good('All of it was true.')} The request reached the origin ${ms(times.toOriginMs)} after the start of the sandbox's
command, which took ${ms(times.totalMs)} in all; the whole demo took ${ms(tookMs)}.

Next: examples/gateway.yaml is a configuration to start from; npm test runs everything.`
      : `${style.bad(`${failed} of ${claims.length} did not hold.`)} What the gateway logged: ${stage.gatewayLog().trim() || 'nothing'}`
  return `\n${style.heading('Checked')}\n${lines.join('\n')}\n\n${end}\n`
}

/** Why it could not be played. */
export function trouble(error: unknown, stage: Stage | undefined, style: Style): string {
  const message = error instanceof Error ? error.message : String(error)
  const log = stage?.gatewayLog().trim()
  return `\n${style.bad('The demo could not be played:')} ${message}\n${log ? `the gateway logged:\n${log}\n` : ''}`
}

function whatWasSent({ client, command, sent, out, err, status }: Observed, style: Style): string[] {
  const shown = client === 'curl' ? command : ['node', 'node-client.js', command.at(-1)!]
  const lines = [
    ...(client === 'node'
      ? [style.aside('(curl is not installed: a small Node program takes its place)')]
      : []),
    `$ upstreamproxy run -- ${shown.join(' ')}`,
    ...sent.map((line) => `> ${line}`),
  ]
  // Where it went wrong, what it said is what helps.
  if (status !== 0) return [...lines, ...err.trim().split('\n'), `(exit status ${status})`]
  return [...lines, `< ${out.trim()}`]
}

function whatArrived({ origin }: Stage, { audit }: Observed, style: Style): string[] {
  const [arrival] = origin.arrivals
  if (arrival === undefined) return ['nothing']
  const injected = audit.flatMap(({ record }) => (record['injected'] as string[] | undefined) ?? [])
  return [
    `${arrival.method} ${arrival.path}`,
    ...arrival.headers.map(([name, value]) =>
      injected.includes(name.toLowerCase())
        ? style.added(`${name}: ${masked(value)}   ◀ added by the gateway`)
        : `${name}: ${value}`,
    ),
    style.aside(`because of its rule   ${RULE[0]}`),
    style.aside(`                      ${RULE[1]}`),
  ]
}

function whatIsRecorded({ audit }: Observed, style: Style): string[] {
  const request = audit.find(({ record }) => record['event'] === 'request')
  if (request === undefined) return ['nothing']
  const others = audit.length - 1
  return [
    ...wrapped(request.line),
    style.aside(`(one line of JSON; ${others} more for the tunnel and the start)`),
  ]
}

// Many names have one value: shown once.
function whichVariables({ sandbox }: Stage, { environment }: Observed, style: Style): string[] {
  const names = new Map<string, string[]>()
  for (const [name, value] of Object.entries(environment)) {
    if (sandbox.env[name] !== value) names.set(value, [...(names.get(value) ?? []), name])
  }
  return [...names].flatMap(([value, its]) => [
    ...wrapped(its.join(' '), ' '),
    style.aside(`    = ${shortened(value.replace(sandbox.home, '~'))}`),
  ])
}

function scene(number: number, title: string, lines: readonly string[], style: Style): string {
  return `\n${style.heading(`${number}  ${title}`)}\n${lines.map((line) => `   ${line}\n`).join('')}`
}

// The scheme of a credential may be seen, the rest not even in its length.
function masked(value: string): string {
  const [, scheme = ''] = /^([A-Za-z]+ )/.exec(value) ?? []
  return `${scheme}••••••••••••`
}

function wrapped(text: string, at = ','): string[] {
  const lines: string[] = []
  for (const word of text.split(at)) {
    const last = lines.at(-1)
    if (last !== undefined && last.length + word.length < COLUMNS)
      lines[lines.length - 1] = `${last}${at}${word}`
    else lines.push(word)
  }
  // A break is after the separator, so that nothing is lost between the lines.
  return lines.map((line, i) => (i < lines.length - 1 ? `${line}${at}` : line))
}

function shortened(text: string): string {
  return text.length <= COLUMNS ? text : `${text.slice(0, COLUMNS - 1)}…`
}

function ms(value: number): string {
  return value < 1000 ? `${value.toFixed()} ms` : `${(value / 1000).toFixed(1)} s`
}

function sgr(code: number): (text: string) => string {
  return (text) => `\u001b[${code}m${text}\u001b[0m`
}

function same(text: string): string {
  return text
}

const COLUMNS = 90
