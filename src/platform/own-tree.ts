/**
 * Packages that may or may not be installed, and would run in this process: where they may come from.
 *
 * Rule 1: from the `node_modules` folders above this package, in which its dependencies lie, and from nowhere else.
 *         Node's own search goes on from there to `$NODE_PATH`, `$HOME/.node_modules` and `$HOME/.node_libraries`, where any
 *         process of this user may have left a file that waits for the token.
 * Rule 2: under Yarn's Plug'n'Play, which has no such folders, its map of what was installed decides, and it alone does.
 */
import { existsSync, realpathSync } from 'node:fs'
import { createRequire } from 'node:module'
import { basename, dirname, join, sep } from 'node:path'
import { fileURLToPath } from 'node:url'

/**
 * What a package exports.
 * @throws what it throws itself; and an Error with the code MODULE_NOT_FOUND where it is not installed
 */
export function requireFromTree(name: string, from = HERE): unknown {
  const require = createRequire(from)
  if (process.versions['pnp'] !== undefined) return require(name)
  const folder = packageFolder(name, from)
  if (folder === undefined)
    throw Object.assign(new Error(`${name} is not installed`), { code: 'MODULE_NOT_FOUND' })
  return require(folder)
}

/** Where a package lies, as a file sees it by Rule 1; undefined where it is not installed, and where there are no folders. */
export function packageFolder(name: string, from = HERE): string | undefined {
  for (let folder = dirname(from); ; folder = dirname(folder)) {
    const place = join(folder, 'node_modules', name)
    if (basename(folder) !== 'node_modules' && existsSync(place)) return place
    if (folder === dirname(folder)) return undefined
  }
}

/** What a file that asks Node for a package would get against Rule 1: its path, or undefined where there is nothing such. */
export function strayPackage(name: string, from: string): string | undefined {
  const found = foundByNode(name, from)
  if (found === undefined || process.versions['pnp'] !== undefined) return undefined
  const folder = packageFolder(name, from)
  const own = folder === undefined ? [] : [folder, realpathSync(folder)]
  return own.some((place) => found.startsWith(place + sep)) ? undefined : found
}

function foundByNode(name: string, from: string): string | undefined {
  try {
    return createRequire(from).resolve(name)
  } catch {
    // It would get the same answer: nothing that runs.
    return undefined
  }
}

const HERE = fileURLToPath(import.meta.url)
