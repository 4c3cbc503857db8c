/** Starts host programs under a user of the test's choice, with all that init needs, and talks to them. */
import type { ChildProcess } from 'node:child_process'
import { chmodSync, chownSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import type { Test } from 'tap'
import type { GivenOptions } from '#src/index.js'
import { askedProgram } from '../support/asking.js'
import { caEndpoint } from '../support/ca-endpoint.js'
import { makeCa } from '../support/certificates.js'
import { RUNTIME_NAMES, runtimeProgram } from '../support/runtimes.js'
import type { HostReport } from './host-program.js'

/** What the token file holds. */
export const CANARY = 'canary-2b61e0c7d4'

/** As root every process can be read, and nothing would be shown: then programs run as a user of no privilege. */
export const NOBODY = process.getuid?.() === 0 ? 65534 : undefined

export interface HostSettings {
  readonly given?: GivenOptions
  /** evaluated before init */
  readonly before?: string
  /** the runtime's program (default: this one's) */
  readonly program?: string
  /** flags of the runtime */
  readonly flags?: readonly string[]
  readonly env?: Readonly<Record<string, string>>
  readonly uid?: number | undefined
  /** command that becomes the runtime, given its words: such as `prlimit` */
  readonly through?: readonly string[]
}

export interface Host {
  readonly pid: number
  readonly process: ChildProcess
  /** its own: working directory, token, bundle */
  readonly folder: string
  readonly tokenFile: string
  /** what came of init */
  readonly report: HostReport
  /** what it wrote to standard error so far */
  errors(): string
  /** the answer to a line of script */
  ask(script: string): Promise<unknown>
  /** how it ended */
  readonly ended: Promise<NodeJS.Signals | number>
}

/** Every Node that is here, this one first, and Bun where it is asked for: name → program. */
export function runtimes({ bun = false } = {}): readonly (readonly [name: string, program: string])[] {
  const others = RUNTIME_NAMES.filter((name) => bun || name !== 'bun').flatMap((name) => {
    const found = runtimeProgram(name)
    if ('program' in found) return [[name, found.program] as const]
    // They are promised there.
    if (process.env['CI']) throw new Error(found.absent)
    return []
  })
  return [[`node ${process.version}`, process.execPath], ...others]
}

/** Starts one, and waits for its report. It ends with the test. */
export async function startHost(t: Test, settings: HostSettings = {}): Promise<Host> {
  const {
    given,
    before,
    program = process.execPath,
    flags = [],
    env = {},
    uid = NOBODY,
    through = [],
  } = settings
  const folder = mkdtempSync(join(tmpdir(), 'upstreamproxy-host-'))
  t.teardown(() => rmSync(folder, { recursive: true, force: true }))
  const tokenFile = join(folder, 'token')
  writeFileSync(tokenFile, `${CANARY}\n`, { mode: 0o600 })
  chmodSync(folder, 0o755)
  if (uid !== undefined) for (const path of [tokenFile, folder]) chownSync(path, uid, uid)
  const { certPem } = await gatewayCa
  const endpoint = await caEndpoint(t, certPem)
  const options: GivenOptions = {
    baseUrl: endpoint.url,
    tokenFile,
    caBundle: join(folder, 'ca-bundle.crt'),
    ...given,
  }
  const variables = {
    PATH: '/usr/local/bin:/usr/bin:/bin',
    HOME: folder,
    CLAUDE_CODE_REMOTE: '1',
    CCR_UPSTREAM_PROXY_ENABLED: '1',
    CLAUDE_CODE_REMOTE_SESSION_ID: 'session-1',
    ...env,
  }
  const words = [...through, program, ...flags, PROGRAM, JSON.stringify({ given: options, before })]
  const { child, ended, errors, answer, ask } = askedProgram(t, variables, words, {
    cwd: folder,
    ...(uid !== undefined && { uid, gid: uid }),
  })
  return {
    pid: child.pid!,
    process: child,
    folder,
    tokenFile,
    report: (await answer('the report')) as HostReport,
    errors,
    ended,
    ask,
  }
}

const PROGRAM = fileURLToPath(new URL('host-program.js', import.meta.url))
const gatewayCa = makeCa({ name: 'gateway ca' })
