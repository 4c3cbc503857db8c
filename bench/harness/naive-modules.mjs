/**
 * The `ws` relay's modules, `bufferutil` among them. They come from the registry into .cache/bench/naive: this package
 * itself does without bufferutil, which has an install script (and a prebuilt binary, so that none needs to run).
 */
import { spawnSync } from 'node:child_process'
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { cache } from './build.mjs'
import { Absent } from './relay.mjs'

const WANTED = { ws: '8.23.0', bufferutil: '4.1.0' }
const folder = join(cache, 'naive')

/**
 * The folder whose node_modules has them; installs what is missing.
 * @throws Absent where the registry has not given them
 */
export function naiveModules() {
  if (Object.keys(WANTED).some((name) => versionOf(name) !== WANTED[name])) {
    mkdirSync(folder, { recursive: true })
    writeFileSync(join(folder, 'package.json'), '{ "private": true }\n')
    const named = Object.entries(WANTED).map(([name, version]) => `${name}@${version}`)
    const flags = ['--no-audit', '--no-fund', '--ignore-scripts', '--loglevel=error']
    const { status } = spawnSync('npm', ['install', ...flags, ...named], {
      cwd: folder,
      stdio: ['ignore', 2, 2],
    })
    if (status !== 0) throw new Absent('npm has not installed ws and bufferutil')
  }
  return folder
}

export function naiveVersion() {
  return Object.keys(WANTED)
    .map((name) => `${name} ${versionOf(name)}`)
    .join(', ')
}

function versionOf(name) {
  const manifest = join(folder, 'node_modules', name, 'package.json')
  return existsSync(manifest) ? JSON.parse(readFileSync(manifest, 'utf8')).version : undefined
}
