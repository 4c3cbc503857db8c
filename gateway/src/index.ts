/** The gateway as a library: check a configuration, start a gateway. The CLI does nothing else. */
import { Addresses, type OwnListener } from './addresses.js'
import { Audit } from './audit.js'
import { openCa } from './ca.js'
import type { Config } from './config.js'
import type { Core } from './core.js'
import { Leaves } from './leaf.js'
import { createLog, errorText, type Log } from './log.js'
import { Origins } from './origins.js'
import { GatewayServer } from './server.js'
import { Sessions } from './sessions.js'
import { VERSION } from './version.js'

export { CaError } from './ca.js'
export { type Config, type ConfigSurroundings, loadConfig, parseConfig } from './config.js'
export { ConfigError, type Problem, problemText } from './config-problems.js'
export { createLog, type Log, SILENT } from './log.js'
export { REASONS, type ReasonCode } from './reasons.js'
export { VERSION } from './version.js'

export interface Gateway {
  /** base URL, without a path */
  readonly url: string
  readonly port: number
  /** PEM */
  readonly caCertificate: string
  /** SHA-256, as `openssl x509 -fingerprint -sha256` prints it */
  readonly caFingerprint: string
  /** Stops listening, lets requests under way finish (default: limits.drainMs), then breaks what is left. */
  close(options?: { readonly drainMs?: number }): Promise<void>
}

export interface GatewayOptions {
  /** default: text on standard error */
  readonly log?: Log
}

/** The gateway could not start for a reason that is not in the configuration. `code` is the system's. */
export class StartError extends Error {
  override readonly name = 'StartError'
  readonly part: 'listen' | 'audit'

  constructor(part: 'listen' | 'audit', message: string, cause: unknown) {
    super(message, { cause })
    this.part = part
  }
}

/** Starts a gateway; resolves once it listens. Throws CaError or StartError, with nothing left open. */
export async function startGateway(
  config: Config,
  { log = createLog() }: GatewayOptions = {},
): Promise<Gateway> {
  const { limits, listen, upstream } = config
  for (const { file, line, message } of config.warnings)
    log.warn('config', { at: `${file}:${line}`, message })
  const ca = await openCa(config)
  let own: OwnListener | undefined
  const addresses = new Addresses(upstream.allowAddresses, () => own)
  const origins = new Origins({ ...upstream, addresses, limits })
  const audit = openAudit(config, log)
  const core: Core = {
    limits,
    log,
    audit,
    sessions: new Sessions(config.sessions),
    leaves: new Leaves(ca, { max: limits.maxLeaves }),
    origins,
    draining: false,
  }
  // Tells at once whether there is a sink.
  audit.write({ event: 'start', gateway: VERSION, pid: process.pid })
  const server = new GatewayServer(core, ca, config.tls)
  try {
    const { address, port } = await server.listen(listen.host, listen.port)
    own = { address, port }
    const host = listen.host.includes(':') ? `[${listen.host}]` : listen.host
    return {
      url: `${config.tls ? 'https' : 'http'}://${host}:${port}`,
      port,
      caCertificate: ca.certPem,
      caFingerprint: ca.fingerprint,
      close: once(async ({ drainMs = limits.drainMs } = {}) => {
        await server.close(drainMs)
        origins.close()
        audit.write({ event: 'stop', gateway: VERSION, pid: process.pid })
        audit.close()
      }),
    }
  } catch (error) {
    await server.close(0)
    audit.close()
    throw new StartError(
      'listen',
      `cannot listen on ${listen.host}:${listen.port}: ${errorText(error)}`,
      error,
    )
  }
}

function openAudit({ audit: { file, onError } }: Config, log: Log): Audit {
  try {
    return new Audit({ file, onError, log })
  } catch (error) {
    throw new StartError('audit', `the audit file ${file} cannot be opened: ${errorText(error)}`, error)
  }
}

function once<A extends unknown[]>(action: (...args: A) => Promise<void>): (...args: A) => Promise<void> {
  let running: Promise<void> | undefined
  return (...args) => {
    running ??= action(...args)
    return running
  }
}
