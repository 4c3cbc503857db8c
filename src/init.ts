/**
 * From nothing to a relay, in six steps.
 *
 * Rule 1: nothing that goes wrong here reaches the host program: one warning, everything that was opened closed,
 *         `enabled: false` (invariant 1). The catch-all below is the only one.
 * Rule 2: `process.env` is read once and never written.
 * Rule 3: the token is read after the process has been hardened, and unlinked after the relay listens
 *         (invariants 2 and 3).
 */
import { checkedCa, fetchCa, inheritedRoots, joinedBundle, writeBundle } from './ca-bundle.js'
import {
  bypassesEverything,
  carriersOf,
  childEnvironment,
  type Environment,
  replacedCaFiles,
} from './environment.js'
import { asProxyError, type ErrorCode } from './errors.js'
import { harden } from './hardening.js'
import { inheritedRelay } from './inherited.js'
import { createLog, errorFields, type Log, type LogOptions, writeToStderr } from './log.js'
import {
  type GivenOptions,
  missingGuards,
  type Options,
  parseLogOptions,
  parseOptions,
  sessionIdOf,
} from './options.js'
import { brokenAddons } from './platform/index.js'
import { startRelay } from './relay/start.js'
import { type RelayStatus, STATUS_PATH } from './relay/status.js'
import { readToken, type Token, tokenFileExists, unlinkToken } from './token.js'
import { gatewayTrust, systemRoots } from './trust.js'
import { WIRE_PATHS } from './wire/index.js'

export type InitResult = EnabledResult | DisabledResult

export interface EnabledResult {
  readonly enabled: true
  /** where the relay listens, on 127.0.0.1 */
  readonly port: number
  /** the joined CA bundle, for clients */
  readonly caBundlePath: string
  /** the whole environment for children: the parent's, and the variables that lead through the relay */
  readonly env: Record<string, string>
  status(): RelayStatus
  /** Stops accepting, lets open tunnels go on for `drainMs` (default: 2000), resets what is left. Never rejects. */
  close(options?: { readonly drainMs?: number }): Promise<void>
}

export interface DisabledResult {
  readonly enabled: false
  readonly reason: DisabledReason
  /** the parent's environment, unchanged */
  readonly env: Record<string, string>
}

/**
 * `not-enabled`: the guard variables are not both set. `inherited`: the environment leads to a live relay already, and
 * `env` carries it on. Else what went wrong.
 */
export type DisabledReason = 'not-enabled' | 'inherited' | ErrorCode

/** Sets the relay up, where the environment asks for it. Never throws and never rejects. */
export async function initUpstreamProxy(given: GivenOptions = {}): Promise<InitResult> {
  const parent = definedOnly(process.env)
  const undo: (() => Promise<void>)[] = []
  let log = createLog({ level: 'warn', format: 'text' })
  try {
    const logOptions = logOptionsOf(given, parent)
    log = createLog(logOptions)
    return await start(given, parent, log, logOptions, undo)
  } catch (error) {
    const failure = asProxyError(error)
    log.warn('disabled', errorFields(failure))
    for (const step of undo.reverse()) {
      await step().catch((cause: unknown) => log.warn('cleanup-failed', errorFields(asProxyError(cause))))
    }
    return { enabled: false, reason: failure.code, env: { ...parent } }
  }
}

async function start(
  given: GivenOptions,
  parent: Environment,
  log: Log,
  logOptions: Required<LogOptions>,
  undo: (() => Promise<void>)[],
): Promise<InitResult> {
  // Step 1: the guard.
  const missing = missingGuards(parent)
  if (missing.length > 0) {
    log.debug('not-enabled', { missing: missing.join(' ') })
    return { enabled: false, reason: 'not-enabled', env: { ...parent } }
  }
  const options = parseOptions(given, parent)
  const { tokenFile } = options
  // A process below one that has a relay: the flags are there, the token is not any more.
  if (!(await tokenFileExists(tokenFile))) {
    const port = await inheritedRelay(parent, STATUS_PATH)
    if (port !== undefined) {
      log.debug('inherited', { port })
      return { enabled: false, reason: 'inherited', env: { ...parent } }
    }
  }
  if (options.unlinkOnFailure) undo.push(() => unlinkToken(tokenFile))
  const sessionId = sessionIdOf(options)

  // Step 2: hardening.
  reportBrokenAddons(log)
  const hardened = await harden(options.hardening, parent, log)

  // The relay's thread, which starts while the rest is made ready.
  const starting = await startRelay(options.relay.thread, options.limits, logOptions)
  undo.push(() => starting.end())

  // Step 3: the token.
  const token = await readToken(tokenFile)
  await hardened.checkAgain()

  // Step 4: the CA bundle.
  const { caBundlePath, trust } = await prepareTrust(options, parent, log, undo)

  // Step 5: the relay.
  await hardened.checkAgain()
  const { engine, prewarm, port, baseUrl, limits } = options
  const relay = await starting.listen({ engine, prewarm, port, baseUrl, limits, sessionId, token, ...trust })
  undo.push(() => relay.close({ drainMs: 0 }))
  const env = environmentOf(parent, relay.port, caBundlePath, options, token, log)

  // Step 6: the token file goes, only now.
  try {
    await unlinkToken(tokenFile)
  } catch (error) {
    log.warn('token-file-left', errorFields(asProxyError(error)))
  }
  return {
    enabled: true,
    port: relay.port,
    caBundlePath,
    env,
    status: () => relay.status(),
    close: (closeOptions) => relay.close(closeOptions),
  }
}

// What serves in its place is in the status document.
function reportBrokenAddons(log: Log): void {
  if (saidBroken) return
  saidBroken = true
  for (const { path, reason } of brokenAddons()) log.warn('addon-broken', { path, reason })
}

// Once a process, however often init runs.
let saidBroken = false

async function prepareTrust(options: Options, parent: Environment, log: Log, undo: (() => Promise<void>)[]) {
  const { baseUrl, gatewayCa, envProfile } = options
  const roots = await systemRoots(options.systemCa)
  const trust =
    baseUrl.protocol === 'https:'
      ? await gatewayTrust({ roots, gatewayCa })
      : { roots: undefined, secureContext: undefined }
  const { secureContext } = trust
  const gateway = checkedCa(await fetchCa({ baseUrl, path: WIRE_PATHS.caCert, secureContext }))
  const inherited = await inheritedRoots(replacedCaFiles(parent, envProfile), ({ variable, path }, reason) =>
    log.warn('inherited-ca-left-out', { variable, path, reason }),
  )
  const bundle = await writeBundle(
    joinedBundle([...roots.certificates, ...inherited], gateway),
    options.caBundle,
  )
  undo.push(() => bundle.remove())
  if (bundle.detour !== undefined)
    log.warn('ca-bundle-elsewhere', { path: bundle.path, reason: bundle.detour })
  log.debug('ca-bundle', { path: bundle.path, systemRoots: roots.source })
  return { caBundlePath: bundle.path, trust }
}

function environmentOf(
  parent: Environment,
  port: number,
  caBundlePath: string,
  options: Options,
  token: Token,
  log: Log,
): Record<string, string> {
  const env = childEnvironment(parent, { ...options, port, caBundlePath })
  for (const variable of carriersOf(token, env)) {
    delete env[variable]
    log.warn('token-in-environment', {
      variable,
      hint: 'it is kept from children; the token belongs in its file alone',
    })
  }
  if (bypassesEverything(env)) {
    log.warn('no-proxy-star', { hint: 'NO_PROXY has *, by which clients go around the relay altogether' })
  }
  return env
}

function logOptionsOf(given: GivenOptions, parent: Environment): Required<LogOptions> {
  const options = parseLogOptions(given, parent)
  // A caller in JavaScript may give anything; parseOptions says so, once there is a log to say it to.
  const sink = given?.log
  if (typeof sink !== 'function') return { ...options, write: writeToStderr }
  const write = (line: string) => {
    try {
      sink(line)
    } catch {
      // A log that fails must not take the relay with it, and there is nowhere to say so.
    }
  }
  return { ...options, write }
}

function definedOnly(env: NodeJS.ProcessEnv): Environment {
  return Object.fromEntries(
    Object.entries(env).filter((entry): entry is [string, string] => entry[1] !== undefined),
  )
}
