/** What base images have, from this machine and the registry: a libc, a runtime and its libraries, and not much else. */
import { execFileSync } from 'node:child_process'
import {
  chmodSync,
  copyFileSync,
  existsSync,
  linkSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import type { Test } from 'tap'
import { CHECKOUT } from '../../../dist-test/support/tarball.js'

/** Puts a program of this machine's libc into a root, with the libraries that it is linked with, where they are here. */
export function putProgram(root: string, program: string, place: string): void {
  put(root, program, place, 0o755)
  for (const library of librariesOf(program)) put(root, library, library, 0o755)
}

/** The roots of the public CAs, where the machine has any. */
export function putRoots(root: string): void {
  if (existsSync(ROOTS)) put(root, ROOTS, ROOTS, 0o644)
}

/** musl's loader, which is its libc as well, and libstdc++ and libgcc for it. `glibcProgram` tells where those are. */
export function putMusl(t: Test, root: string, glibcProgram: string): void {
  put(root, MUSL, MUSL, 0o755)
  const [libstdcxx, libgcc] = ['libstdc++.so.6', 'libgcc_s.so.1'].map((name) =>
    librariesOf(glibcProgram).find((library) => library.endsWith(`/${name}`)),
  ) as [string, string]
  put(root, libgcc, '/lib/libgcc_s.so.1', 0o755)
  put(root, libstdcxx, `/lib/${BORROWED}`, 0o755)
  const stand = compileStandIn(t)
  put(root, stand, '/lib/libstdc++.so.6', 0o755)
  // By this name libstdc++ asks for glibc's loader; musl's takes a file that it has loaded already for the same.
  linkSync(join(root, 'lib/libstdc++.so.6'), join(root, 'lib/ld-linux-x86-64.so.2'))
}

/** A musl-built Node: pnpm's executable is one with a program attached, which a byte in it says. */
export function putMuslNode(root: string, pnpm: string, place: string): void {
  const bytes = readFileSync(pnpm)
  const attached = bytes.indexOf(`${FUSE}:1`)
  if (attached === -1) throw new Error(`${pnpm} is not a Node with a program attached`)
  bytes.write('0', attached + FUSE.length + 1)
  mkdirSync(dirname(join(root, place)), { recursive: true })
  writeFileSync(join(root, place), bytes, { mode: 0o755 })
}

/** Debian's libraries for arm64, as far as Node is linked with them, and the emulator that needs nothing. */
export function putArm64(root: string): void {
  put(root, QEMU, QEMU, 0o755)
  for (const name of ARM64_LIBRARIES) put(root, `${ARM64}/${name}`, `/lib/${name}`, 0o755)
}

/** Puts a file into a root. */
export function put(root: string, file: string, place: string, mode: number): void {
  const target = join(root, place)
  if (existsSync(target)) return
  mkdirSync(dirname(target), { recursive: true })
  copyFileSync(file, target)
  chmodSync(target, mode)
}

/** tap's options for a test in a root of its own. */
export function needingRoots(...programs: readonly string[]): { skip?: string } {
  if (process.platform !== 'linux' || process.arch !== 'x64') return { skip: 'of Linux on x64' }
  // CI is root, and installs them: there, the test runs and fails where that is not so.
  if (process.env['CI']) return {}
  if (process.getuid?.() !== 0) return { skip: 'needs root, to change it' }
  const missing = programs.filter((program) => !existsSync(program))
  return missing.length === 0 ? {} : { skip: `there is no ${missing.join(', ')}` }
}

// The loader itself among them, without what the kernel maps.
function librariesOf(program: string): string[] {
  const lines = execFileSync('ldd', [program], { encoding: 'utf8' }).split('\n')
  return lines.flatMap((line) => /(\/\S+) \(0x/.exec(line)?.[1] ?? [])
}

function compileStandIn(t: Test): string {
  const folder = mkdtempSync(join(tmpdir(), 'upstreamproxy-musl-'))
  t.teardown(() => rmSync(folder, { recursive: true, force: true }))
  const [library, empty] = [join(folder, 'libstdc++.so.6'), join(folder, BORROWED)]
  const cc = (...words: readonly string[]) => execFileSync(CC, ['-shared', '-fPIC', '-nostdlib', ...words])
  // Something to be linked with, for the name of the real one.
  cc('-x', 'c', '/dev/null', `-Wl,-soname,${BORROWED}`, '-o', empty)
  const named = ['-Wl,-soname,libstdc++.so.6', '-o', library]
  cc('-O2', '-Wall', '-Werror', '-fno-stack-protector', STAND_IN, '-Wl,--no-as-needed', empty, ...named)
  return library
}

export const MUSL = '/lib/ld-musl-x86_64.so.1'
export const CC = '/usr/bin/cc'
export const QEMU = '/usr/bin/qemu-aarch64-static'
export const ARM64 = '/usr/aarch64-linux-gnu/lib'
const ARM64_LIBRARIES = [
  'ld-linux-aarch64.so.1',
  'libc.so.6',
  'libdl.so.2',
  'libm.so.6',
  'libpthread.so.0',
].concat(['libstdc++.so.6', 'libgcc_s.so.1'])
const ROOTS = '/etc/ssl/certs/ca-certificates.crt'
const BORROWED = 'libstdc++-borrowed.so.6'
const STAND_IN = join(CHECKOUT, 'gateway/test/packaging/musl/libstdcxx.c')
const FUSE = 'NODE_SEA_FUSE_fce680ab2cc467b6e072b8b5df1996b2'
