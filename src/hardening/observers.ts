/** Who looks into this process already: an inspector's clients, a tracer. Looking changes nothing. */
import { isMainThread } from 'node:worker_threads'
import type { Environment } from '../environment.js'
import { ProxyError } from '../errors.js'
import { findTracer, reasonOf } from '../platform/index.js'
import type { Shortfall } from './shortfall.js'

/**
 * Refuses where somebody looks in.
 * @returns what could not be found out
 * @throws ProxyError ERR_HARDENING_INSPECTOR, ERR_HARDENING_TRACED
 */
export async function refuseObserved(env: Environment): Promise<readonly Shortfall[]> {
  return [...(await refuseInspected(env)), ...refuseTraced()]
}

/**
 * Refuses where the inspector is open. Its address is not told: it holds the secret that a client needs.
 * @throws ProxyError ERR_HARDENING_INSPECTOR
 */
async function refuseInspected(env: Environment): Promise<readonly Shortfall[]> {
  if ((await inspectorIsOpen()) || startedWithInspector(env)) {
    throw new ProxyError(
      'ERR_HARDENING_INSPECTOR',
      "the inspector of this process is open: whoever connects to it can read the heap, so the token isn't read",
      { hint: 'to debug, with the token open to every process of this user: --hardening off' },
    )
  }
  if (isMainThread) return []
  return [{ measure: 'inspector', reason: 'a worker thread cannot ask; init in the main thread can' }]
}

function refuseTraced(): readonly Shortfall[] {
  if (process.platform !== 'linux') {
    return [{ measure: 'tracer', reason: `TracerPid is Linux's, and this is ${process.platform}` }]
  }
  let tracer: number
  try {
    tracer = findTracer()
  } catch (error) {
    return [{ measure: 'tracer', reason: reasonOf(error) }]
  }
  if (tracer === 0) return []
  throw new ProxyError(
    'ERR_HARDENING_TRACED',
    `process ${tracer} traces this one and can read its memory, so the token isn't read`,
    { hint: 'to debug, with the token open to every process of this user: --hardening off' },
  )
}

async function inspectorIsOpen(): Promise<boolean> {
  // A Node that was built without it says so here, and throws at the import.
  if (process.features.inspector === false) return false
  const inspector = await import('node:inspector')
  return inspector.url() !== undefined
}

// Bun has no `url` for an inspector that it was started with, and Node none in a worker thread.
function startedWithInspector(env: Environment): boolean {
  if (process.versions['bun'] !== undefined)
    return hasInspectFlag(process.execArgv) || BUN_VARIABLES.some((name) => env[name])
  if (isMainThread) return false
  return hasInspectFlag(process.execArgv) || hasInspectFlag((env['NODE_OPTIONS'] ?? '').split(/[\s"]+/))
}

function hasInspectFlag(words: readonly string[]): boolean {
  return words.some((word) => /^--inspect(?:-brk|-wait)?(?:=|$)/.test(word))
}

const BUN_VARIABLES = ['BUN_INSPECT', 'BUN_INSPECT_CONNECT_TO']
