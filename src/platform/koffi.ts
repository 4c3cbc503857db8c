/**
 * prctl(2) through koffi: the one that the user has installed, else the optional dependency with koffi's binary for
 * this platform, which carries the whole of its API and has no install script.
 */
import { createRequire } from 'node:module'

export interface Prctl {
  /** the package that serves it, and its version */
  readonly implementation: string
  readonly why: string
  /** @returns what prctl returned, and errno where that is -1 */
  call(option: number, argument: number): { readonly result: number; readonly errno: number }
}

/** What is used of koffi's API (https://koffi.dev/functions). */
interface Koffi {
  readonly version?: string
  load(path: null): { func(name: string, result: string, parameters: readonly string[]): PrctlFunction }
  errno(): number
}

type PrctlFunction = (option: number, ...rest: [number, number, number, number]) => number

/** Finds prctl, or says why there is none. Never throws. */
export function loadPrctl(platform: string, arch: string): Prctl | { readonly absent: string } {
  if (platform !== 'linux') return { absent: `prctl is Linux's, and this is ${platform}` }
  const require = createRequire(import.meta.url)
  const pinned = `@koromix/koffi-linux-${arch}`
  const failures: string[] = []
  for (const [name, why] of [
    ['koffi', 'it is installed'],
    [pinned, 'optional dependency for this platform'],
  ] as const) {
    try {
      const koffi = require(name) as Koffi
      // Fixed arguments: prctl is variadic in C, and reads five registers whatever it was given.
      const prctl = koffi.load(null).func('prctl', 'int', ['int', 'ulong', 'ulong', 'ulong', 'ulong'])
      const implementation = koffi.version === undefined ? name : `${name} ${koffi.version}`
      return {
        implementation,
        why,
        call(option, argument) {
          const result = prctl(option, argument, 0, 0, 0)
          return { result, errno: result === -1 ? koffi.errno() : 0 }
        },
      }
    } catch (error) {
      failures.push(`${name}: ${reasonOf(error)}`)
    }
  }
  return { absent: failures.join('; ') }
}

function reasonOf(error: unknown): string {
  if (!(error instanceof Error)) return String(error)
  if ('code' in error && error.code === 'MODULE_NOT_FOUND') return 'not installed'
  return error.message.split('\n', 1)[0] ?? error.name
}
