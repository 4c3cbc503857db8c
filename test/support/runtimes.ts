/** The runtimes that scripts/runtimes.mjs has installed. */
import { existsSync, readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'

export const RUNTIME_NAMES = ['node-22', 'node-24', 'node-26', 'bun'] as const
export type RuntimeName = (typeof RUNTIME_NAMES)[number]

/** Path of a runtime's program, or why there is none. */
export function runtimeProgram(name: RuntimeName): { program: string } | { absent: string } {
  const file = fileURLToPath(new URL(`../../.cache/runtimes/${name}/program`, import.meta.url))
  if (!existsSync(file)) return { absent: `${name} is not installed: node scripts/runtimes.mjs` }
  return { program: readFileSync(file, 'utf8') }
}
