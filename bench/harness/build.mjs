/**
 * Builds the load tools and the baselines into .cache/bench/bin, each when its sources are newer than it is.
 */
import { spawnSync } from 'node:child_process'
import { mkdirSync, readdirSync, renameSync, statSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'

export const root = fileURLToPath(new URL('../../', import.meta.url))
export const cache = join(root, '.cache/bench')

const cxx = ['g++', '-std=c++17', '-O3', '-Wall', '-Wextra']
const openssl = ['-lssl', '-lcrypto', '-pthread']
const PROGRAMS = {
  gateway: { compile: cxx, source: 'bench/load/gateway.cc', libraries: openssl },
  load: { compile: cxx, source: 'bench/load/load.cc', libraries: openssl },
  delay: { compile: cxx, source: 'bench/load/delay.cc', libraries: [] },
  'tls-relay': { compile: cxx, source: 'bench/baselines/tls-relay.cc', libraries: openssl },
  copy: { compile: ['gcc', '-O3', '-Wall', '-Wextra'], source: 'bench/baselines/copy.c', libraries: [] },
}

/** What is not here that the build needs, with the way to get it; undefined where nothing is missing. */
export function missingTools() {
  const missing = ['gcc', 'g++'].filter((tool) => spawnSync(tool, ['--version']).error)
  // Asked of the compiler, which knows where it looks.
  const header = () =>
    spawnSync('g++', ['-E', '-x', 'c++', '-'], {
      input: '#include <openssl/ssl.h>\n',
      stdio: ['pipe', 'ignore', 'ignore'],
    })
  if (missing.length === 0 && header().status !== 0) missing.push('libssl-dev')
  if (missing.length === 0) return undefined
  return `the benchmark's tools need ${missing.join(', ')}: apt-get install ${missing.join(' ')}`
}

/**
 * Paths of all programs, by name.
 * @throws where a tool is missing or the compiler refuses
 */
export function buildPrograms() {
  const missing = missingTools()
  if (missing) throw new Error(missing)
  mkdirSync(join(cache, 'bin'), { recursive: true })
  const headers = ['bench/load'].flatMap((folder) =>
    readdirSync(join(root, folder)).map((name) => join(root, folder, name)),
  )
  const newestHeader = Math.max(...headers.filter((name) => name.endsWith('.h')).map(modified))
  const build = ([name, { compile, source, libraries }]) => {
    const program = join(cache, 'bin', name)
    const path = join(root, source)
    if (modified(program) < Math.max(modified(path), newestHeader)) {
      const [compiler, ...flags] = compile
      // Others may be running, or building, the same.
      const fresh = `${program}.${process.pid}`
      const { status } = spawnSync(compiler, [...flags, '-o', fresh, path, ...libraries], {
        stdio: ['ignore', 'inherit', 'inherit'],
        cwd: dirname(path),
      })
      if (status !== 0) throw new Error(`${source} does not compile`)
      renameSync(fresh, program)
    }
    return [name, program]
  }
  return Object.fromEntries(Object.entries(PROGRAMS).map(build))
}

function modified(path) {
  return statSync(path, { throwIfNoEntry: false })?.mtimeMs ?? 0
}
