/** What the demo claims, each with the check that decides it. */
import { X509Certificate } from 'node:crypto'
import { existsSync } from 'node:fs'
import { connect } from 'node:net'
import type { Observed } from './observe.js'
import type { Stage } from './stage.js'

export interface Claim {
  readonly text: string
  readonly holds: boolean
  /** where it does not hold: what was seen; holds no secret */
  readonly instead?: string | undefined
}

/** The claims about what was observed while everything stood. */
export function claimsAbout(stage: Stage, observed: Observed): Claim[] {
  const { origin, secrets, gateway } = stage
  const { client, sent, processes, environment, audit } = observed
  const arrival = origin.arrivals[0]
  const authorizations = arrival?.headers.filter(([name]) => name.toLowerCase() === 'authorization') ?? []
  const caName = commonName(new X509Certificate(gateway.caCertificate).subject)
  const requests = audit.filter(({ record }) => record['event'] === 'request')
  const connects = audit.filter(({ record }) => record['event'] === 'connect')
  return [
    {
      text: `${client} reached the origin through the relay, and was answered`,
      holds: observed.status === 0 && origin.arrivals.length === 1 && observed.out.includes('"accepted"'),
      instead: `exit status ${observed.status}, ${origin.arrivals.length} requests at the origin`,
    },
    {
      text: 'the origin got the key, exactly as the organisation has it',
      holds: authorizations.length === 1 && authorizations[0]?.[1] === `Bearer ${secrets.key}`,
      instead: `${authorizations.length} authorization headers`,
    },
    {
      text: `${client} did not send it: its own request has no authorization header`,
      holds:
        sent.length > 0 && !sent.some((line) => /authorization/i.test(line)) && !holdsSecret(stage, sent),
      instead: sent.length === 0 ? 'its request is not in what it printed' : 'it is there',
    },
    {
      text: `key and token are in no argument and no variable of ${processes ? 'relay and ' : ''}${client}`,
      holds:
        Object.keys(environment).length > 0 &&
        !holdsSecret(stage, [environment, stage.sandbox.env, observed.command, stage.sandbox.run]) &&
        (processes === undefined || (processes.length > 1 && !holdsSecret(stage, processes))),
      instead: processes && processes.length <= 1 ? 'the processes could not be looked at' : 'one of them is',
    },
    {
      text: `nor in anything that relay, ${client} and gateway printed`,
      holds: !holdsSecret(stage, [observed.out, observed.err, stage.gatewayLog()]),
    },
    {
      text: 'the token file was gone as soon as the relay was up',
      holds: observed.tokenFileWasGone,
    },
    {
      text: `the certificate that ${client} accepted was issued by the gateway's CA`,
      holds: caName !== undefined && commonName(observed.issuer ?? '') === caName,
      instead: `issuer ${observed.issuer ?? 'unknown'}`,
    },
    {
      text: 'the audit names the header, and has its value nowhere',
      holds:
        requests.length === 1 &&
        connects.length === 1 &&
        requests[0]?.record['status'] === 200 &&
        JSON.stringify(requests[0]?.record['injected']) === '["authorization"]' &&
        !holdsSecret(stage, observed.auditText),
      instead: `${connects.length} connect and ${requests.length} request records`,
    },
  ]
}

/** The last claim, to be checked once the stage is cleared: no file, process or listener is left. */
export async function claimOfLeftovers(stage: Stage, observed: Observed): Promise<Claim> {
  const relayPort = Number(/:(\d+)$/.exec(observed.environment['HTTPS_PROXY'] ?? '')?.[1] ?? Number.NaN)
  const ports = [stage.origin.port, stage.gateway.port, relayPort].filter((port) => !Number.isNaN(port))
  const listening = (await Promise.all(ports.map(isListening))).filter(Boolean)
  const alive = (observed.processes ?? []).filter(({ pid }) => isAlive(pid))
  const left = existsSync(stage.folder)
  return {
    text: 'nothing is left behind: no file, no process, no listening port',
    holds: !left && alive.length === 0 && listening.length === 0,
    instead: `${left ? stage.folder : 'no folder'}, ${alive.length} processes, ${listening.length} ports`,
  }
}

// In any of the ways in which text could carry it.
function holdsSecret({ secrets }: Stage, where: unknown): boolean {
  const text = JSON.stringify(where)
  return Object.values(secrets).some((secret) =>
    [secret, ...[0, 1, 2].map((before) => base64Inside(secret, before))].some((form) => text.includes(form)),
  )
}

// What base64 makes of the secret inside a longer text, without the ends that depend on its neighbours.
function base64Inside(secret: string, before: number): string {
  const bytes = Buffer.concat([Buffer.alloc(before), Buffer.from(secret)])
  return bytes
    .subarray(0, bytes.length - (bytes.length % 3))
    .toString('base64')
    .slice(before === 0 ? 0 : 4)
}

function commonName(subject: string): string | undefined {
  return /CN ?= ?([^,;\n]+)/.exec(subject)?.[1]
}

function isListening(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(port, '127.0.0.1')
    socket.once('connect', () => {
      socket.destroy()
      resolve(true)
    })
    socket.once('error', () => resolve(false))
  })
}

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0)
    return true
  } catch {
    // ESRCH: it is gone.
    return false
  }
}
