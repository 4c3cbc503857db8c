// Programs from the registry that are no dependencies of the project, into .cache/FOLDER/NAME: what is missing is
// installed, and what is there in another version is replaced. .cache/FOLDER/NAME/program then holds the path of the program, for the tests.
import { spawnSync } from 'node:child_process'
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'

const cache = fileURLToPath(new URL('../.cache', import.meta.url))

/**
 * Installs what a table names: name → { package, version (exact), program (its path in the package) }, and
 *   flags   for npm, where the package is for another machine than this one
 *   check   arguments with which the program must end with 0; what it says is printed. Not for other machines' programs
 * Sets process.exitCode where something is amiss, and goes on with the rest.
 */
export function fetchPrograms(folder, table) {
  for (const [name, { package: packageName, version, program, flags = [], check }] of Object.entries(table)) {
    const place = join(cache, folder, name)
    const installed = join(place, 'node_modules', packageName)
    const path = join(installed, program)
    if (!isThere(installed, path, version) && !install(place, `${packageName}@${version}`, flags)) continue
    const said = check === undefined ? versionOf(installed) : run(path, check)
    if (said === undefined || !existsSync(path)) {
      fail(`${name}: ${path} does not run here`)
      continue
    }
    writeFileSync(join(place, 'program'), path)
    console.error(`${name}: ${said}`)
  }
}

function isThere(installed, path, version) {
  return existsSync(path) && versionOf(installed) === version
}

function versionOf(installed) {
  return JSON.parse(readFileSync(join(installed, 'package.json'), 'utf8')).version
}

function run(path, args) {
  const { stdout, status } = spawnSync(path, args, { encoding: 'utf8', timeout: RUN_MS })
  return status === 0 ? stdout.trim() : undefined
}

function install(place, spec, flags) {
  mkdirSync(place, { recursive: true })
  writeFileSync(join(place, 'package.json'), '{ "private": true }\n')
  // None of these needs a script of its own.
  const words = ['install', '--ignore-scripts', '--no-audit', '--no-fund', '--loglevel=error', ...flags, spec]
  const { status } = spawnSync('npm', words, {
    cwd: place,
    stdio: ['ignore', 'ignore', 'inherit'],
    shell: process.platform === 'win32',
    timeout: INSTALL_MS,
  })
  return status === 0 || fail(`cannot install ${spec}`)
}

function fail(message) {
  console.error(message)
  process.exitCode = 1
  return false
}

const RUN_MS = 30_000
const INSTALL_MS = 180_000
