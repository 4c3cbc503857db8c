/** The files of an organisation: certificates, secrets, and the gateway's configuration, in one folder. */
import { randomBytes } from 'node:crypto'
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { type CertificateWithKey, makeCa, makeLeaf } from '../../../dist-test/support/certificates.js'

export const HOSTS = ['api', 'git', 'registry', 'stranger'] as const
export type HostName = (typeof HOSTS)[number]

export interface Organisation {
  readonly folder: string
  readonly configFile: string
  readonly auditFile: string
  /** PEM file of the CA that vouches for the gateway */
  readonly gatewayCaFile: string
  /** certificate of all origins but the stranger */
  readonly origin: CertificateWithKey
  /** certificate of an origin that the gateway does not trust */
  readonly stranger: CertificateWithKey
  /** header values that the gateway adds */
  readonly headers: {
    readonly apiKey: string
    readonly strangerKey: string
    readonly gitAuthorization: string
    readonly registryAuthorization: string
  }
  readonly sessions: readonly { readonly id: string; readonly token: string }[]
  /** all that must not be seen anywhere, by name */
  readonly secrets: Readonly<Record<string, string>>
}

/** Writes them; every secret is new. */
export async function makeOrganisation(folder: string, sessionCount: number): Promise<Organisation> {
  const [originCa, strangerCa, gatewayCa] = await Promise.all([
    makeCa({ name: 'origins' }),
    makeCa({ name: 'nobody knows it' }),
    makeCa({ name: 'gateway' }),
  ])
  const [origin, stranger, gateway] = await Promise.all([
    makeLeaf(originCa, { dns: HOSTS.map((name) => `${name}.test`), ip: ['127.0.0.1'] }),
    makeLeaf(strangerCa, { dns: ['stranger.test'] }),
    makeLeaf(gatewayCa),
  ])
  const secrets = {
    'api-key': makeSecret(),
    'stranger-key': makeSecret(),
    'git-password': makeSecret(),
    'registry-token': makeSecret(),
  }
  const gitAuthorization = `Basic ${Buffer.from(`git:${secrets['git-password']}`).toString('base64')}`
  const sessions = Array.from({ length: sessionCount }, (_, i) => ({
    id: `session-${i + 1}`,
    token: makeSecret(),
  }))

  // Secrets come from files: the environment of the gateway's process is searched for them like any other.
  const write = (name: string, content: string) => writeFileSync(join(folder, name), content, { mode: 0o600 })
  write('gateway-ca.pem', gatewayCa.certPem)
  write('gateway.pem', gateway.certPem)
  write('gateway.key', gateway.keyPem)
  write('origins.pem', originCa.certPem)
  for (const [name, value] of Object.entries(secrets)) write(name, value)
  write('git-authorization', gitAuthorization)
  for (const { id, token } of sessions) write(id, `${token}\n`)
  write('gateway.yaml', configOf(sessions))
  return {
    folder,
    configFile: join(folder, 'gateway.yaml'),
    auditFile: join(folder, 'audit.jsonl'),
    gatewayCaFile: join(folder, 'gateway-ca.pem'),
    origin,
    stranger,
    headers: {
      apiKey: secrets['api-key'],
      strangerKey: secrets['stranger-key'],
      gitAuthorization,
      registryAuthorization: `Bearer ${secrets['registry-token']}`,
    },
    sessions,
    secrets: {
      ...secrets,
      ...Object.fromEntries(sessions.map(({ id, token }) => [`token of ${id}`, token])),
    },
  }
}

function configOf(sessions: readonly { readonly id: string }[]): string {
  return `
listen: 127.0.0.1:0
tls: { cert: gateway.pem, key: gateway.key }
state: ./state
upstream:
  caFile: origins.pem
  allowAddresses: [127.0.0.0/8]
  hosts: { ${HOSTS.map((name) => `${name}.test: 127.0.0.1`).join(', ')} }
audit: { file: audit.jsonl }
sessions:
${sessions.map(({ id }) => `  - { id: ${id}, token: { file: ${id} }, org: acme }`).join('\n')}
orgs:
  acme:
    default: deny
    secrets:
      api-key: { file: api-key }
      stranger-key: { file: stranger-key }
      git-authorization: { file: git-authorization }
      registry-token: { file: registry-token }
    rules:
      - match: { host: "*.blocked.test" }
        action: deny
      - match: { host: api.test, path: "/forbidden/**" }
        action: deny
      - match: { host: api.test }
        set: { x-api-key: "\${secret:api-key}" }
      - match: { host: git.test }
        set: { authorization: "\${secret:git-authorization}" }
      - match: { host: registry.test }
        set: { authorization: "Bearer \${secret:registry-token}" }
      - match: { host: stranger.test }
        set: { x-api-key: "\${secret:stranger-key}" }
`
}

// It holds what URLs and JSON must escape, so that a search has to know those forms.
function makeSecret(): string {
  return `canary+${randomBytes(12).toString('hex')}/="%&${randomBytes(12).toString('base64url')}`
}
