/**
 * Around an install: what a package manager finds in an image that is made for production.
 *
 * Rule 1: PATH holds a runtime and the few words of a shell that package managers' own shims are written in. There is
 *         no compiler, no make, no Python.
 * Rule 2: nothing of the tester's configuration but the way to the registry, which may be a mirror.
 */
import { execFileSync } from 'node:child_process'
import { mkdtempSync, rmSync, symlinkSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import type { Test } from 'tap'

/** A folder to be PATH, with the programs by the names that are given. It goes with the test. */
export function barePath(t: Test, programs: Readonly<Record<string, string>>): string {
  const folder = mkdtempSync(join(tmpdir(), 'upstreamproxy-path-'))
  t.teardown(() => rmSync(folder, { recursive: true, force: true }))
  for (const [name, program] of Object.entries(programs)) symlinkSync(program, join(folder, name))
  for (const name of SHELL_WORDS) {
    const found = execFileSync('/bin/sh', ['-c', `command -v ${name}`], { encoding: 'utf8' })
    symlinkSync(found.trim(), join(folder, name))
  }
  return folder
}

/** Environment for a package manager. Its caches stay from run to run, in .cache. */
export function installEnvironment(path: string): Record<string, string> {
  registry ??= execFileSync('npm', ['config', 'get', 'registry'], {
    encoding: 'utf8',
    stdio: ['ignore', 'pipe', 'ignore'],
    timeout: 30_000,
  }).trim()
  const outside = WAY_OUT.flatMap((name) => {
    const value = process.env[name]
    return value === undefined ? [] : [[name, value] as const]
  })
  return {
    ...Object.fromEntries(outside),
    PATH: path,
    HOME: HOME,
    npm_config_registry: registry,
    pnpm_config_registry: registry,
    YARN_NPM_REGISTRY_SERVER: registry.replace(/\/$/, ''),
    // They would ask the network for things that nobody wants to know here.
    npm_config_update_notifier: 'false',
    YARN_ENABLE_TELEMETRY: '0',
  }
}

// What shims for commands consist of; `env` is in the first line of every program.
const SHELL_WORDS = ['sh', 'env', 'dirname', 'basename', 'sed', 'uname']
const HOME = fileURLToPath(new URL('../../.cache/package-managers/home', import.meta.url))
const WAY_OUT = ['HTTP_PROXY', 'HTTPS_PROXY', 'NO_PROXY', 'http_proxy', 'https_proxy', 'no_proxy'].concat([
  'NODE_EXTRA_CA_CERTS',
  'SSL_CERT_FILE',
  'SSL_CERT_DIR',
])
let registry: string | undefined
