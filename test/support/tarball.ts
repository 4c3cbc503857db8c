/** What `npm pack` makes of this checkout, which is what users get. */
import { execFileSync } from 'node:child_process'
import { mkdirSync, mkdtempSync, readdirSync, rmSync, statSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join, relative } from 'node:path'
import { fileURLToPath } from 'node:url'
import type { Test } from 'tap'

export const CHECKOUT = fileURLToPath(new URL('../../', import.meta.url))

/** Packs into a folder that goes with the test; path of the tarball. */
export function packTarball(t: Test): string {
  const folder = mkdtempSync(join(tmpdir(), 'upstreamproxy-pack-'))
  t.teardown(() => rmSync(folder, { recursive: true, force: true }))
  execFileSync('npm', ['pack', '--workspaces=false', '--pack-destination', folder], {
    cwd: CHECKOUT,
    stdio: 'ignore',
    timeout: PACK_MS,
  })
  const [name] = readdirSync(folder)
  if (name === undefined) throw new Error('npm pack made nothing')
  return join(folder, name)
}

/** Unpacks it beside itself; path of the folder that holds the package's files. */
export function unpackTarball(tarball: string): string {
  const folder = `${tarball}-unpacked`
  mkdirSync(folder)
  execFileSync('tar', ['-xzf', tarball, '-C', folder], { timeout: PACK_MS })
  return join(folder, 'package')
}

/** Paths of all files below a folder, relative to it, sorted. */
export function filesBelow(folder: string): string[] {
  const entries = readdirSync(folder, { recursive: true, withFileTypes: true })
  const files = entries.filter((entry) => !entry.isDirectory())
  return files.map((entry) => relative(folder, join(entry.parentPath, entry.name))).sort()
}

/** Bytes of all files below a folder. */
export function bytesBelow(folder: string): number {
  return filesBelow(folder).reduce((sum, file) => sum + statSync(join(folder, file)).size, 0)
}

const PACK_MS = 60_000
