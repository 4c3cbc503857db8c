/**
 * Who may import whom, and who may print, exit, or read the environment (docs: the table below is the rule).
 *
 * Rule 1: an import at run time goes only where LAYERS allows; `import type` is free.
 * Rule 2: no module imports itself by any way round.
 * Rule 3: only the CLIs print or exit; only the options and the CLIs read `process.env`.
 * Rule 4: wire does no I/O: of Node it uses what computes, no package, no timer.
 * Rule 5: the gateway takes from the root package its subpath `wire`, and nothing else.
 */
import { posix } from 'node:path'
import { usesOf } from './imports.js'

/** Source texts by path, relative to the repository: `src/…` and `gateway/src/…`. */
export type Sources = ReadonlyMap<string, string>

/** What breaks a rule, one sentence each, sorted; empty where nothing does. */
export function complaintsAbout(sources: Sources): string[] {
  const complaints: string[] = []
  const edges = new Map<string, string[]>()
  for (const [path, source] of sources) {
    const { imports, globals } = usesOf(source)
    const targets: string[] = []
    for (const specifier of imports) {
      const target = resolve(path, specifier, sources)
      if (target.complaint !== undefined) complaints.push(`${path}: ${target.complaint}`)
      else if (target.path !== undefined) targets.push(target.path)
    }
    edges.set(path, targets)
    for (const target of targets) complaints.push(...aboutImport(path, target))
    complaints.push(...aboutGlobals(path, globals))
  }
  complaints.push(...cyclesIn(edges))
  return [...new Set(complaints)].sort()
}

/** Where a module belongs: its folder below the package's src, or its own name (`src/cli/run.ts` and `src/cli.ts`: cli). */
export function roomOf(path: string): string {
  const inside = path.replace(/^(?:gateway\/)?src\//, '')
  return inside.includes('/') ? inside.slice(0, inside.indexOf('/')) : inside.replace(/\.ts$/, '')
}

interface Target {
  readonly path?: string
  readonly complaint?: string
}

function resolve(from: string, specifier: string | undefined, sources: Sources): Target {
  const root = packageOf(from)
  if (specifier === undefined) {
    return COMPUTED_IMPORTS.has(from)
      ? {}
      : { complaint: 'imports by a computed name, which nothing can check' }
  }
  const own = specifier.startsWith('#src/') ? `${root}/${specifier.slice(5)}` : undefined
  if (own !== undefined || specifier.startsWith('.')) {
    const path = (own ?? posix.join(posix.dirname(from), specifier)).replace(/\.js$/, '.ts')
    if (!path.startsWith(`${root}/`)) return { complaint: `reaches out of ${root} with '${specifier}'` }
    return sources.has(path) ? { path } : { complaint: `imports '${specifier}', which is not there` }
  }
  if (/^(?:node:)?(?:process|console)$/.test(specifier))
    return { complaint: `imports '${specifier}': use the global, which this test can see` }
  if (specifier.startsWith('upstreamproxy-gateway')) return { complaint: `imports '${specifier}'` }
  if (/^upstreamproxy(?:\/|$)/.test(specifier)) {
    const allowed = root === 'gateway/src' && specifier === 'upstreamproxy/wire'
    return allowed
      ? {}
      : { complaint: `imports '${specifier}'; only a gateway may, and only upstreamproxy/wire` }
  }
  if (root === 'src' && roomOf(from) === 'wire' && !COMPUTING_MODULES.has(specifier))
    return { complaint: `imports '${specifier}', but wire does no I/O` }
  return {}
}

function aboutImport(from: string, to: string): string[] {
  if (packageOf(from) !== 'src') return aboutGatewayImport(from, to)
  const [room, other] = [roomOf(from), roomOf(to)]
  const allowed = LAYERS[room]
  if (allowed === undefined) return [`${from}: has no place in the layers; give it one in LAYERS`]
  if (room === other || allowed.includes(other)) return []
  return [`${from}: imports ${to}; ${room} may import ${allowed.join(', ') || 'nothing of ours'}`]
}

// Inside the gateway the layers are its own; but nothing stands on its CLI or its demo.
function aboutGatewayImport(from: string, to: string): string[] {
  const top = /^(?:cli|demo)/
  if (top.test(roomOf(to)) && !top.test(roomOf(from))) return [`${from}: imports ${to}, which is on top`]
  return []
}

function aboutGlobals(path: string, globals: readonly string[]): string[] {
  const isTop = TOP.test(path)
  const mayReadEnvironment = isTop || READS_ENVIRONMENT.test(path)
  const complaints: string[] = []
  for (const used of new Set(globals)) {
    const isDoor = used === 'console' || PRINT_OR_EXIT.test(used) || (used === 'process' && !isTop)
    if (isDoor && !isTop && !(used === 'process.stderr' && WRITES_LOG.test(path)))
      complaints.push(`${path}: uses ${used}; only a CLI prints or exits`)
    if (used === 'process.env' && !mayReadEnvironment) {
      const times = globals.filter((name) => name === used).length
      if (path !== 'src/init.ts' || times > 1)
        complaints.push(`${path}: reads process.env; only the options and a CLI do (init passes it on once)`)
    }
    if (path.startsWith('src/wire/'))
      complaints.push(`${path}: uses ${used}, but wire has no clock and does no I/O`)
  }
  return complaints
}

// Every cycle once, from its first module in order of names.
function cyclesIn(edges: ReadonlyMap<string, readonly string[]>): string[] {
  const found = new Set<string>()
  const done = new Set<string>()
  const visit = (path: string, trail: readonly string[]): void => {
    const start = trail.indexOf(path)
    if (start >= 0) {
      const cycle = trail.slice(start)
      const first = cycle.indexOf([...cycle].sort()[0] ?? path)
      const turned = [...cycle.slice(first), ...cycle.slice(0, first)]
      found.add(`${turned[0]}: imports itself by way of ${turned.slice(1).join(', ') || 'nothing else'}`)
      return
    }
    if (done.has(path)) return
    for (const next of edges.get(path) ?? []) visit(next, [...trail, path])
    done.add(path)
  }
  for (const path of edges.keys()) visit(path, [])
  return [...found]
}

function packageOf(path: string): 'src' | 'gateway/src' {
  return path.startsWith('gateway/src/') ? 'gateway/src' : 'src'
}

// Small things that everything may stand on; of ours they use the errors at most.
const BASE = ['errors', 'log', 'limits', 'version']
const STEPS = ['token', 'ca-bundle', 'trust', 'environment', 'inherited', 'options']
const UNDER_INIT = [...BASE, 'pem', ...STEPS, 'hardening', 'wire', 'platform', 'relay']
const LAYERS: Readonly<Record<string, readonly string[]>> = {
  errors: [],
  limits: [],
  version: [],
  log: ['errors'],
  pem: ['errors'],
  wire: ['errors'],
  platform: ['errors', 'wire'],
  relay: ['wire', 'platform', ...BASE],
  ...Object.fromEntries(STEPS.map((step) => [step, BASE])),
  hardening: [...BASE, 'platform'],
  'ca-bundle': [...BASE, 'pem'],
  trust: [...BASE, 'pem'],
  init: UNDER_INIT,
  index: [...UNDER_INIT, 'init'],
  cli: [...UNDER_INIT, 'init', 'index'],
}
const TOP = /^(?:src\/cli|gateway\/src\/(?:cli|demo))(?:\.ts$|\/)/
const READS_ENVIRONMENT = /^(?:src\/options(?:\.ts$|\/)|gateway\/src\/config)/
const WRITES_LOG = /^(?:gateway\/)?src\/log\.ts$/
const PRINT_OR_EXIT = /^process\.(?:stdout|stderr|exit|exitCode|abort|reallyExit|kill)$/
const COMPUTING_MODULES = new Set(['node:buffer', 'node:crypto', 'node:util'])
// What the machine offers is asked for by the name of its platform.
const COMPUTED_IMPORTS = new Set<string>(['src/platform/own-tree.ts', 'src/platform/addon.ts'])
