/** Programs that the scripts over scripts/registry-cache.mjs have installed into .cache. */
import { existsSync, readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'

export type CachedProgram = { readonly program: string } | { readonly absent: string }

/** Path of a program, or why there is none. */
export function cachedProgram(folder: string, name: string, script: string): CachedProgram {
  const file = fileURLToPath(new URL(`../../.cache/${folder}/${name}/program`, import.meta.url))
  if (!existsSync(file)) return { absent: `${name} is not installed: node ${script}` }
  return { program: readFileSync(file, 'utf8') }
}

/**
 * tap's options for a test that needs programs: `{}`, or a `skip` that says what is missing. In CI they are promised,
 * so there the test runs, and fails where it asks for one (`programOf`).
 */
export function needingPrograms(...found: readonly CachedProgram[]): { skip?: string } {
  const missing = new Set(found.flatMap((one) => ('absent' in one ? [one.absent] : [])))
  return missing.size === 0 || process.env['CI'] ? {} : { skip: [...missing].join('; ') }
}

/** @throws where there is none */
export function programOf(found: CachedProgram): string {
  if ('absent' in found) throw new Error(found.absent)
  return found.program
}
