/**
 * A sandbox: an empty home, a session, and programs under `upstreamproxy run`.
 *
 * Rule 1: what a program needs to get through comes from `run` alone. A sandbox starts with PATH, HOME and the flags
 *         that its maker gives it, and nothing of the tester's environment.
 */
import { mkdtempSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import type { AuditRecord, ConnectRecord, RequestRecord } from '#src/audit.js'
import { eventually, within } from '../../../dist-test/support/deadline.js'
import type { Organisation } from './organisation.js'
import type { Ended, Program, ProgramOptions } from './processes.js'

export type Environment = Readonly<Record<string, string>>
export type StartProgram = (command: string, args: readonly string[], options: ProgramOptions) => Program

export interface RunOptions extends Partial<ProgramOptions> {
  /** for `run` */
  readonly flags?: readonly string[]
  /** another token than the session's */
  readonly token?: string
}

export interface SessionAudit {
  readonly connects: readonly ConnectRecord[]
  readonly requests: readonly RequestRecord[]
}

export class Sandbox {
  readonly sessionId: string
  readonly home: string
  readonly tokenFile: string
  /** what `run` starts with */
  readonly env: Environment
  readonly #organisation: Organisation
  readonly #token: string
  readonly #start: StartProgram

  constructor(
    organisation: Organisation,
    { id, token }: Organisation['sessions'][number],
    { gatewayUrl, start }: { gatewayUrl: string; start: StartProgram },
  ) {
    this.#organisation = organisation
    this.#token = token
    this.#start = start
    this.sessionId = id
    this.home = mkdtempSync(join(organisation.folder, 'home-'))
    this.tokenFile = join(this.home, 'session_token')
    this.env = {
      PATH: process.env['PATH'] ?? '',
      HOME: this.home,
      CLAUDE_CODE_REMOTE: '1',
      CCR_UPSTREAM_PROXY_ENABLED: '1',
      CLAUDE_CODE_REMOTE_SESSION_ID: id,
      CCR_UPSTREAM_PROXY_BASE_URL: gatewayUrl,
      UPSTREAMPROXY_TOKEN_FILE: this.tokenFile,
      UPSTREAMPROXY_LOG_LEVEL: 'debug',
    }
  }

  /** Starts `upstreamproxy run FLAGS -- COMMAND…`, with a token file of its own. */
  start(command: readonly string[], { flags = [], token, ...options }: RunOptions = {}): Program {
    this.issueToken(this.tokenFile, token)
    const words = ['run', '--gateway-ca', this.#organisation.gatewayCaFile, ...flags, '--', ...command]
    return this.#start(process.execPath, [RELAY_CLI, ...words], { cwd: this.home, env: this.env, ...options })
  }

  /** The same, to its end. */
  run(command: readonly string[], options?: RunOptions): Promise<Ended> {
    return within(this.start(command, options).ended, `the end of ${command[0]}`, RUN_MS)
  }

  /** Starts a program in the sandbox without `run` around it. */
  startDirectly([program = '', ...args]: readonly string[], options: Partial<ProgramOptions> = {}): Program {
    return this.#start(program, args, { cwd: this.home, env: this.env, ...options })
  }

  /** Runs a program that sets the relay up itself, with a token file and told of the gateway's CA. */
  runDirectly(command: readonly string[], options: Partial<ProgramOptions> = {}): Promise<Ended> {
    this.issueToken()
    const env = { ...this.env, UPSTREAMPROXY_GATEWAY_CA: this.#organisation.gatewayCaFile }
    return within(this.startDirectly(command, { env, ...options }).ended, `the end of ${command[0]}`, RUN_MS)
  }

  /** Writes a token file, which whoever reads it removes. */
  issueToken(file = this.tokenFile, token = this.#token): void {
    writeFileSync(file, `${token}\n`)
  }

  /** The records of this session, once there are as many as expected; rejects where there are more. */
  async audit(expected: { connects: number; requests: number }): Promise<SessionAudit> {
    const { auditFile } = this.#organisation
    let found = recordsOf(auditFile, this.sessionId)
    const wanted = `${expected.connects} connect and ${expected.requests} request records of ${this.sessionId}`
    await eventually(() => {
      found = recordsOf(auditFile, this.sessionId)
      return found.connects.length >= expected.connects && found.requests.length >= expected.requests
    }, wanted)
    if (found.connects.length > expected.connects || found.requests.length > expected.requests) {
      throw new Error(`more than ${wanted}: ${JSON.stringify(found)}`)
    }
    return found
  }
}

export const RELAY_CLI = fileURLToPath(import.meta.resolve('../../../dist/cli.js'))

const RUN_MS = 60_000

function recordsOf(file: string, session: string): SessionAudit {
  const records = readFileSync(file, 'utf8')
    .split('\n')
    .filter((line) => line !== '')
    .map((line) => JSON.parse(line) as AuditRecord)
  return {
    connects: records.filter((it) => it.event === 'connect').filter((it) => it.session === session),
    requests: records.filter((it) => it.event === 'request').filter((it) => it.session === session),
  }
}
