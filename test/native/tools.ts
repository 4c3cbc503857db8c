/** The compilers and tools that building and checking the addon needs; where one is missing, a visible reason. */
import { spawnSync } from 'node:child_process'
import { cpSync, mkdtempSync, rmSync, symlinkSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'

export const ROOT = fileURLToPath(new URL('../../', import.meta.url))

/** For a test's options: skips where a tool is missing, but in CI, which promises them all. Linux only. */
export function needing(...tools: readonly string[]): { skip: string | false } {
  if (process.platform !== 'linux' || process.arch !== 'x64') return { skip: 'of Linux on x64' }
  if (process.env['CI']) return { skip: false }
  const missing = tools.filter((tool) => spawnSync(tool, ['--version']).error !== undefined)
  return { skip: missing.length > 0 && `not installed: ${missing.join(', ')}` }
}

/** Runs a program to its end in the root of the repository (or in `cwd`); rejects on a status other than 0. */
export function output(program: string, args: readonly string[], cwd = ROOT): string {
  const { status, stdout, stderr, error } = spawnSync(program, args, {
    cwd,
    encoding: 'utf8',
    timeout: DEADLINE_MS,
  })
  if (status === 0) return stdout
  throw new Error(`${program} ${args.join(' ')}: ${error?.message ?? status}\n${stdout}\n${stderr}`)
}

/** As `output`, without a network where that can be had (as root): what is built must not fetch anything. */
export function offlineOutput(program: string, args: readonly string[], cwd?: string): string {
  const isolated = process.getuid?.() === 0 && spawnSync('unshare', ['--net', 'true']).status === 0
  return isolated ? output('unshare', ['--net', program, ...args], cwd) : output(program, args, cwd)
}

interface Teardown {
  teardown(close: () => void): void
}

/** What a build needs, in a folder of its own, so that nothing is left in the checkout. */
export function buildFolder(t: Teardown): string {
  const folder = temporaryFolder(t)
  for (const name of ['package.json', 'CMakeLists.txt', 'binding.gyp', 'native'])
    cpSync(join(ROOT, name), join(folder, name), { recursive: true })
  symlinkSync(join(ROOT, 'node_modules'), join(folder, 'node_modules'))
  return folder
}

export function temporaryFolder(t: Teardown): string {
  const folder = mkdtempSync(join(tmpdir(), 'upstreamproxy-native-'))
  t.teardown(() => rmSync(folder, { recursive: true, force: true }))
  return folder
}

const DEADLINE_MS = 240_000
