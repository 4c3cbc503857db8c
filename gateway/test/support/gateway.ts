/** Gateways of tests: a folder of their own, everything closed at the end. */
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Test } from 'tap'
import { type Config, createLog, type Gateway, parseConfig, startGateway } from '#src/index.js'

export const TOKEN = 'token-of-session-1-CANARY-a1'
export const TOKEN_2 = 'token-of-session-2-CANARY-a2'
export const API_KEY = 'api-key-CANARY-b1'

export interface TestGateway {
  readonly gateway: Gateway
  readonly folder: string
  /** all that was logged so far */
  logged(): string
  /** the records so far, those of the gateway itself left out */
  records(): Record<string, unknown>[]
  /** the audit file as it stands */
  auditText(): string
}

export interface TestGatewayOptions {
  /** YAML of `orgs.acme`, indented by nothing (default: allows all) */
  readonly acme?: string
  /** YAML at the top level, beside sessions, orgs, state and listen */
  readonly more?: string
  /** PEM for upstream.caFile */
  readonly originCa?: string
  /** name → address (default: origin.test and other.test at 127.0.0.1) */
  readonly hosts?: string
  /** default: loopback */
  readonly allowAddresses?: string
  readonly auditFile?: string
  readonly onError?: 'block' | 'continue'
  readonly files?: Readonly<Record<string, string>>
  /** the last word on the configuration */
  readonly change?: (config: Config) => Config
}

export function temporaryFolder(t: Test): string {
  const folder = mkdtempSync(join(tmpdir(), 'upstreamproxy-gateway-'))
  t.teardown(() => rmSync(folder, { recursive: true, force: true }))
  return folder
}

export function configText(options: TestGatewayOptions): string {
  const indent = (text: string, by: string) => text.trim().replace(/^/gm, by)
  return `
listen: 127.0.0.1:0
state: state
upstream:
  ${options.originCa === undefined ? '' : 'caFile: origin-ca.pem'}
  allowAddresses: ${options.allowAddresses ?? '["127.0.0.0/8", "::1/128"]'}
  hosts: ${options.hosts ?? '{ origin.test: 127.0.0.1, other.test: 127.0.0.1, sub.origin.test: 127.0.0.1 }'}
audit: { file: ${options.auditFile ?? 'audit.jsonl'}, onError: ${options.onError ?? 'block'} }
sessions:
  - { id: session-1, token: { env: TOKEN_1 }, org: acme }
  - { id: session-2, token: { env: TOKEN_2 }, org: other }
orgs:
  acme:
${indent(options.acme ?? 'default: allow', '    ')}
  other: { default: allow }
${options.more ?? ''}
`
}

export const ENV = { TOKEN_1: TOKEN, TOKEN_2, API_KEY }

export async function testGateway(t: Test, options: TestGatewayOptions = {}): Promise<TestGateway> {
  const folder = temporaryFolder(t)
  if (options.originCa !== undefined) writeFileSync(join(folder, 'origin-ca.pem'), options.originCa)
  for (const [name, content] of Object.entries(options.files ?? {}))
    writeFileSync(join(folder, name), content)
  mkdirSync(join(folder, 'state'), { mode: 0o700 })
  const lines: string[] = []
  const log = createLog({ write: (line) => lines.push(line) })
  const { change = (it) => it } = options
  const config = change(parseConfig(configText(options), { folder, env: ENV }))
  const gateway = await startGateway(config, { log })
  t.teardown(() => gateway.close({ drainMs: 0 }))
  const auditText = () => readFileSync(join(folder, options.auditFile ?? 'audit.jsonl'), 'utf8')
  return {
    gateway,
    folder,
    logged: () => lines.join(''),
    auditText,
    records: () =>
      auditText()
        .split('\n')
        .filter((line) => line !== '')
        .map((line) => JSON.parse(line) as Record<string, unknown>)
        .filter(({ event }) => event === 'connect' || event === 'request'),
  }
}

/** Waits until a condition holds; fails after the deadline. */
export async function eventually<T>(
  look: () => T | undefined | false | Promise<T | undefined | false>,
  deadlineMs = 10_000,
): Promise<T> {
  const end = Date.now() + deadlineMs
  for (;;) {
    const found = await look()
    if (found !== undefined && found !== false) return found
    if (Date.now() > end) throw new Error(`not within ${deadlineMs} ms`)
    await new Promise((resolve) => setTimeout(resolve, 5))
  }
}
