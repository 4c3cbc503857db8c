/**
 * The C library through bun:ffi, which is part of Bun.
 *
 * Rule 1: the library is opened by the path from which it is mapped already. Given a bare name that is not there, Bun
 *         goes on to look in the working directory, where anybody may have put one.
 */
import { readFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import type { LibcLookup } from './koffi.js'
import { reasonOf } from './system-call-error.js'

/** Opens the library, or says why not. Never throws. */
export function loadBunFfi(): LibcLookup {
  const bun = process.versions['bun']
  if (bun === undefined) return { absent: 'this is not Bun' }
  try {
    const path = mappedLibc(readFileSync('/proc/self/maps', 'utf8'))
    if (path === undefined) return { absent: 'bun:ffi: no C library is mapped that could be opened' }
    const { dlopen, read } = createRequire(import.meta.url)('bun:ffi') as BunFfi
    const { symbols } = dlopen(path, {
      // Fixed arguments: prctl is variadic in C, and reads five registers whatever it was given.
      prctl: { args: ['i32', 'u64', 'u64', 'u64', 'u64'], returns: 'i32' },
      sigaction: { args: ['i32', 'ptr', 'ptr'], returns: 'i32' },
      __errno_location: { args: [], returns: 'ptr' },
    })
    return {
      libc: {
        prctl: (option, argument) => symbols.prctl(option, argument, 0, 0, 0),
        sigaction: (signal, action, previous) => symbols.sigaction(signal, action, previous),
        errno: () => read.i32(symbols.__errno_location(), 0),
      },
      why: `bun:ffi of Bun ${bun}: part of the runtime`,
    }
  } catch (error) {
    return { absent: `bun:ffi: ${reasonOf(error)}` }
  }
}

/** The path of the C library among proc_pid_maps(5): glibc's own file, or musl's loader, which is the library too. */
export function mappedLibc(maps: string): string | undefined {
  return /\s(\/\S*\/(?:libc\.so\.6|libc-\d[\d.]*\.so|ld-musl-[\w-]+\.so\.1))$/m.exec(maps)?.[1]
}

/** What is used of bun:ffi. */
interface BunFfi {
  dlopen(
    path: string,
    symbols: Readonly<Record<string, { readonly args: readonly string[]; readonly returns: string }>>,
  ): {
    readonly symbols: {
      prctl(option: number, ...rest: [number, number, number, number]): number
      sigaction(signal: number, action: Buffer | null, previous: Buffer | null): number
      __errno_location(): number
    }
  }
  readonly read: { i32(pointer: number, offset: number): number }
}
