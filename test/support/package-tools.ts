/** The package managers, and what judges packages, that scripts/package-managers.mjs has installed. */
import { type CachedProgram, cachedProgram } from './cached-program.js'

export type PackageToolName =
  | 'npm-10'
  | 'npm-11'
  | 'npm-12'
  | 'pnpm-11'
  | 'pnpm-12'
  | 'yarn-1'
  | 'yarn-4'
  | 'publint'
  | 'attw'

/** Path of a tool's program (of a script, for Node; pnpm-12 alone is an executable), or why there is none. */
export function packageTool(name: PackageToolName): CachedProgram {
  return cachedProgram('package-managers', name, 'scripts/package-managers.mjs')
}
