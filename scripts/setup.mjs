// Installs what the lockfile names and builds, once: a fresh clone needs only Node and a package registry.
import { spawnSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import { existsSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'

export const root = fileURLToPath(new URL('..', import.meta.url))

/** Runs `npm ci` unless node_modules already matches package-lock.json, then builds. Exits on failure. */
export function setUp() {
  install()
  build()
}

/** Compiles TypeScript (incremental: a second run costs little). */
export function build() {
  run(process.execPath, [join(root, 'scripts/build.mjs')])
}

/** Runs a program in the project's root, its output on ours; ends this process with its status if it fails. */
export function run(program, args, options = {}) {
  const { status, error } = spawnSync(program, args, { cwd: root, stdio: 'inherit', ...options })
  if (error) throw error
  if (status !== 0) process.exit(status ?? 1)
}

function install() {
  const lock = createHash('sha256')
    .update(readFileSync(join(root, 'package-lock.json')))
    .digest('hex')
  const stamp = join(root, 'node_modules/.lock-sha256')
  if (existsSync(stamp) && readFileSync(stamp, 'utf8') === lock) return
  console.error('installing dependencies (npm ci) …')
  // npm's own summary would stand in the way of what the person asked for; its errors still show.
  run('npm', ['ci', '--no-audit', '--no-fund', '--loglevel=error'], {
    stdio: ['ignore', 'ignore', 'inherit'],
    shell: process.platform === 'win32',
  })
  writeFileSync(stamp, lock)
}
