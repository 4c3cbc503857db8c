/**
 * Both sides of the story on one machine: an organisation with its origins and its gateway (a process), and sandboxes.
 *
 * Rule 1: every word that any process writes, and at each request the arguments and environments of all of them, are
 *         kept and searched for secrets at the end (`assertNoLeaks`).
 */
import { mkdirSync, mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import type { Test } from 'tap'
import { within } from '../../../dist-test/support/deadline.js'
import { type HostName, makeOrganisation, type Organisation } from './organisation.js'
import { type Api, startApi } from './origins/api.js'
import { startGitHost } from './origins/git.js'
import type { Origin } from './origins/origin.js'
import { startRegistry } from './origins/registry.js'
import { type Program, type ProgramOptions, processTree, startProgram } from './processes.js'
import { Sandbox } from './sandbox.js'
import { Evidence } from './secrets.js'

export interface World {
  readonly organisation: Organisation
  readonly api: Api
  readonly git: Origin
  /** folder of the bare repositories that `git` serves */
  readonly gitRoot: string
  readonly registry: Origin
  /** has a certificate that the gateway does not trust */
  readonly stranger: Api
  readonly gateway: Program
  readonly gatewayUrl: string
  readonly evidence: Evidence
  /** `https://api.test:PORT/path` */
  url(host: HostName, path: string): string
  /** The next session of the organisation, with an empty home. */
  sandbox(): Sandbox
  /** Ends the gateway, and fails the test where a secret was seen anywhere. To be the last thing in a file. */
  assertNoLeaks(t: Test): Promise<void>
}

export async function startWorld(t: Test): Promise<World> {
  const folder = mkdtempSync(join(tmpdir(), 'upstreamproxy-e2e-'))
  t.teardown(() => rmSync(folder, { recursive: true, force: true }))
  const organisation = await makeOrganisation(folder, SESSIONS)
  const { gitAuthorization, registryAuthorization } = organisation.headers
  const gitRoot = join(folder, 'repositories')
  mkdirSync(gitRoot)
  const origins = {
    api: await startApi(t, organisation.origin),
    git: await startGitHost(t, { ...organisation.origin, root: gitRoot, authorization: gitAuthorization }),
    registry: await startRegistry(t, {
      ...organisation.origin,
      base: 'https://registry.test',
      authorization: registryAuthorization,
    }),
    stranger: await startApi(t, organisation.stranger),
  }

  const evidence = new Evidence()
  const running = new Set<Program>()
  const start = (command: string, args: readonly string[], options: ProgramOptions) => {
    const program = startProgram(t, command, args, options)
    running.add(program)
    void program.ended.then(({ out, err }) => {
      running.delete(program)
      evidence.add(`output of ${args.at(-1)}`, out + err)
    })
    return program
  }
  // A client that waits for its answer stands still to be looked at.
  const look = () => {
    for (const program of running) observe(program, evidence)
  }
  for (const origin of Object.values(origins)) origin.onRequest(look)

  const gateway = start(process.execPath, [GATEWAY_CLI, 'serve', '--config', organisation.configFile], {
    env: { PATH: process.env['PATH'] ?? '' },
  })
  const [, gatewayUrl = ''] = await within(gateway.shows(/"url":"([^"]+)"/), 'the gateway being ready')

  const sessions = organisation.sessions.values()
  return {
    ...origins,
    organisation,
    gitRoot,
    gateway,
    gatewayUrl,
    evidence,
    url: (host, path) => `https://${host}.test:${origins[host].port}${path}`,
    sandbox() {
      const { value: session } = sessions.next()
      if (session === undefined) throw new Error(`more than ${SESSIONS} sandboxes in one world`)
      return new Sandbox(organisation, session, { gatewayUrl, start })
    },
    async assertNoLeaks(t) {
      look()
      gateway.process.kill('SIGTERM')
      await within(gateway.ended, 'the end of the gateway')
      evidence.add('the audit', readFileSync(organisation.auditFile))
      t.same(evidence.leaks(organisation.secrets), [], `no secret in: ${evidence.places.join(', ')}`)
    },
  }
}

export const GATEWAY_CLI = fileURLToPath(import.meta.resolve('../../dist/cli.js'))
const SESSIONS = 16

/** Keeps the arguments and environments of a program and all below it, as they are now. */
export function observe(program: Program, evidence: Evidence): void {
  if (process.platform !== 'linux') return
  for (const { cmdline, environ } of processTree(program.pid)) {
    const name = cmdline
      .toString()
      .split('\0', 2)
      .map((word) => word.split('/').pop())
      .join(' ')
    evidence.add(`arguments of ${name}`, cmdline)
    // Unreadable where the process is not dumpable: that is the relay alone, whose environment the test itself made.
    if (environ !== undefined) evidence.add(`environment of ${name}`, environ)
  }
}
