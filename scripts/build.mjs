// Compiles every TypeScript project of the repository (src, gateway/src, and their tests) by reference.
import { spawnSync } from 'node:child_process'
import { chmodSync, existsSync } from 'node:fs'
import { createRequire } from 'node:module'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'

const root = fileURLToPath(new URL('..', import.meta.url))
const tsc = join(dirname(createRequire(import.meta.url).resolve('typescript/package.json')), 'bin/tsc')
const { status } = spawnSync(process.execPath, [tsc, '--build', root], { stdio: 'inherit' })
// npm sets the mode of a package's bin when it installs it; a checkout's own links need it too.
for (const bin of ['dist/cli.js', 'gateway/dist/cli.js']) {
  if (existsSync(join(root, bin))) chmodSync(join(root, bin), 0o755)
}
process.exit(status ?? 1)
