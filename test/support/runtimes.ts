/** The runtimes that scripts/runtimes.mjs has installed. */
import { type CachedProgram, cachedProgram } from './cached-program.js'

export const RUNTIME_NAMES = ['node-22', 'node-24', 'node-26', 'bun'] as const
export type RuntimeName = (typeof RUNTIME_NAMES)[number]

/** They do not run on this machine as it is: `pnpm-musl` is a Node with a program attached. */
export type ForeignRuntimeName = 'pnpm-musl' | 'bun-musl' | 'node-22-arm64'

/** Path of a runtime's program, or why there is none. */
export function runtimeProgram(name: RuntimeName | ForeignRuntimeName): CachedProgram {
  return cachedProgram('runtimes', name, 'scripts/runtimes.mjs')
}
