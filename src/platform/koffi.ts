/**
 * The C library through koffi: the optional dependency with koffi's binary for this platform, which carries the whole of
 * its API and has no install script, else the `koffi` that the user has installed. Loading takes 20 to 30 ms.
 *
 * Rule 1: only what is installed beside this package runs here (own-tree.ts): it is all before the token is read.
 */
import { realpathSync } from 'node:fs'
import { join } from 'node:path'
import { codeOf } from '../errors.js'
import type { Libc } from './libc-process-control.js'
import { packageFolder, requireFromTree, strayPackage } from './own-tree.js'
import { reasonOf } from './system-call-error.js'

export interface LoadedLibc {
  readonly libc: Libc
  /** what loaded it, with its version, and why that one */
  readonly why: string
}

export type LibcLookup = LoadedLibc | { readonly absent: string }

export interface KoffiPackage {
  readonly name: string
  /** why it is there */
  readonly why: string
  /** what it asks Node for in its turn */
  readonly loads?: string
}

/** The packages that carry koffi, in the order in which they are tried: first the one whose version is ours to choose. */
export function koffiPackages(arch: string): readonly KoffiPackage[] {
  const ofPlatform = `@koromix/koffi-linux-${arch}`
  return [
    { name: ofPlatform, why: 'optional dependency for this platform' },
    { name: 'koffi', why: 'it is installed', loads: ofPlatform },
  ]
}

/** Tries the packages in turn, or says of each why not. Never throws. */
export function loadKoffi(packages: readonly KoffiPackage[]): LibcLookup {
  const failures: string[] = []
  for (const { name, why, loads } of packages) {
    try {
      if (loads !== undefined) refuseStray(loads, name)
      const koffi = requireFromTree(name) as Koffi
      return { libc: libcOf(koffi), why: `${[name, koffi.version].join(' ').trim()}: ${why}` }
    } catch (error) {
      failures.push(`${name}: ${whyNotLoaded(error)}`)
    }
  }
  return { absent: failures.join('; ') }
}

// Its own search is Node's.
function refuseStray(loads: string, name: string): void {
  const folder = packageFolder(name)
  const stray = folder === undefined ? undefined : strayPackage(loads, join(realpathSync(folder), 'index.js'))
  if (stray !== undefined) throw new Error(`it would load ${stray}, which is not installed beside it`)
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
  if (codeOf(error) === 'MODULE_NOT_FOUND') return 'not installed'
  return reasonOf(error)
}

/** What is used of koffi's API (https://koffi.dev/functions). */
interface Koffi {
  readonly version?: string
  load(path: null): { func(name: string, result: string, parameters: readonly string[]): NativeFunction }
  errno(): number
}

type NativeFunction = (...values: (number | Buffer | null)[]) => number
