/**
 * The C library through koffi: the one that the user has installed, else the optional dependency with koffi's binary
 * for this platform, which carries the whole of its API and has no install script. Loading takes 20 to 30 ms.
 */
import { createRequire } from 'node:module'
import type { Libc } from './libc-process-control.js'
import { reasonOf } from './system-call-error.js'

export interface LoadedLibc {
  readonly libc: Libc
  /** what loaded it, with its version, and why that one */
  readonly why: string
}

export type LibcLookup = LoadedLibc | { readonly absent: string }

/** The packages that carry koffi, in the order in which they are tried. */
export function koffiPackages(arch: string): readonly (readonly [name: string, why: string])[] {
  return [
    ['koffi', 'it is installed'],
    [`@koromix/koffi-linux-${arch}`, 'optional dependency for this platform'],
  ]
}

/** Tries the packages in turn, or says of each why not. Never throws. */
export function loadKoffi(packages: readonly (readonly [name: string, why: string])[]): LibcLookup {
  const require = createRequire(import.meta.url)
  const failures: string[] = []
  for (const [name, why] of packages) {
    try {
      const koffi = require(name) as Koffi
      return { libc: libcOf(koffi), why: `${[name, koffi.version].join(' ').trim()}: ${why}` }
    } catch (error) {
      failures.push(`${name}: ${whyNotLoaded(error)}`)
    }
  }
  return { absent: failures.join('; ') }
}

function libcOf(koffi: Koffi): Libc {
  const libc = koffi.load(null)
  // Fixed arguments: prctl is variadic in C, and reads five registers whatever it was given.
  const prctl = libc.func('prctl', 'int', ['int', 'ulong', 'ulong', 'ulong', 'ulong'])
  const sigaction = libc.func('sigaction', 'int', ['int', 'void *', 'void *'])
  return {
    prctl: (option, argument) => prctl(option, argument, 0, 0, 0),
    sigaction,
    errno: () => koffi.errno(),
  }
}

function whyNotLoaded(error: unknown): string {
  if (error instanceof Error && 'code' in error && error.code === 'MODULE_NOT_FOUND') return 'not installed'
  return reasonOf(error)
}

/** What is used of koffi's API (https://koffi.dev/functions). */
interface Koffi {
  readonly version?: string
  load(path: null): { func(name: string, result: string, parameters: readonly string[]): NativeFunction }
  errno(): number
}

type NativeFunction = (...values: (number | Buffer | null)[]) => number
