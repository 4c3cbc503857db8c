/**
 * A folder that holds what an example's Dockerfile puts into its image, to be the root of a process.
 *
 * Rule 1: the Dockerfile says what goes where, who runs, and by which words; this file follows it and fails at what it
 *         does not understand. Two things differ: the packed tarball stands for `upstreamproxy` on the registry, and
 *         what base images and their package managers bring comes from `base`.
 */
import { chmodSync, chownSync, copyFileSync, cpSync, mkdirSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { basename, join, resolve } from 'node:path'
import type { Test } from 'tap'
import { programOf } from '../../../dist-test/support/cached-program.js'
import { within } from '../../../dist-test/support/deadline.js'
import { barePath, installEnvironment } from '../../../dist-test/support/installing.js'
import { packageTool } from '../../../dist-test/support/package-tools.js'
import { runtimeProgram } from '../../../dist-test/support/runtimes.js'
import { startProgram } from '../e2e/processes.js'
import { EXAMPLES, entrypoint, last, readDockerfile, type Stage } from './dockerfile.js'
import { useTarball } from './project.js'

export interface Image {
  /** its root */
  readonly folder: string
  readonly user: number
  /** of ENV, on top of what every container has */
  readonly env: Readonly<Record<string, string>>
  readonly entrypoint: readonly string[]
  readonly workingFolder: string
}

export interface BuildOptions {
  /** in place of the package on the registry */
  readonly tarball: string
  /** puts into an empty root what the base image has */
  readonly base: (root: string) => void
}

/** Builds it. The folder goes with the test. */
export async function buildImage(t: Test, name: string, { tarball, base }: BuildOptions): Promise<Image> {
  const [packages, image] = readDockerfile(name)
  if (packages?.name !== 'packages' || image === undefined) throw new Error(`${name}: not the two stages`)
  const installed = await installPackages(t, packages, tarball)

  const folder = emptyRoot(t)
  base(folder)
  const env: Record<string, string> = { PATH: CONTAINER_PATH }
  for (const { name: instruction, rest } of image.instructions) {
    const words = rest.split(' ')
    if (instruction === 'COPY' && words[0] === '--from=packages') {
      cpSync(join(installed, words[1]!), join(folder, words[2]!), { recursive: true, verbatimSymlinks: true })
    } else if (instruction === 'ENV') {
      const [, variable = '', value = ''] = /^(\w+)=(\S+)$/.exec(rest) ?? []
      env[variable] = value.replace(`$${variable}`, env[variable] ?? '')
    } else if (instruction === 'RUN') {
      // The distribution's package manager: what `base` stands for.
      if (!/^(?:apt-get update && apt-get install|apk add) /.test(rest))
        throw new Error(`not understood: ${rest}`)
    } else if (!['USER', 'WORKDIR', 'ENTRYPOINT', 'CMD'].includes(instruction)) {
      throw new Error(`not understood: ${instruction} ${rest}`)
    }
  }
  const user = Number(last(image, 'USER'))
  const workingFolder = last(image, 'WORKDIR')
  mkdirSync(join(folder, workingFolder), { recursive: true })
  chownSync(join(folder, workingFolder), user, user)
  return {
    folder,
    user,
    // The user's home, in all of the base images.
    env: { ...env, HOME: workingFolder },
    entrypoint: entrypoint(image),
    workingFolder,
  }
}

/** Programs that building needs; for `needingPrograms`. */
export const BUILDERS = [packageTool('npm-10'), runtimeProgram('node-22')]

// The first stage: Node 22's image, with the npm that comes with it, and what is said in it.
async function installPackages(t: Test, stage: Stage, tarball: string): Promise<string> {
  const root = emptyRoot(t)
  const [npm, node] = BUILDERS.map(programOf) as [string, string]
  const env = installEnvironment(barePath(t, { node }))
  mkdirSync(env['HOME']!, { recursive: true })
  let cwd = root
  for (const { name, rest } of stage.instructions) {
    const words = rest.split(' ')
    if (name === 'WORKDIR') {
      cwd = join(root, rest)
      mkdirSync(cwd, { recursive: true })
    } else if (name === 'COPY') {
      const place = resolve(cwd, words[1]!)
      copyFileSync(join(EXAMPLES, 'node-program', words[0]!), join(place, basename(words[0]!)))
      if (words[0] === 'package.json') useTarball(cwd, tarball)
    } else if (name === 'RUN' && words[0] === 'npm') {
      const args = words.slice(1).map((word) => (word.startsWith('upstreamproxy@') ? tarball : word))
      const { ended } = startProgram(t, node, [npm, ...args], { cwd, env })
      const { status, out, err } = await within(ended, rest, INSTALL_MS)
      if (status !== 0) throw new Error(`${rest}: ${out}${err}`)
    } else throw new Error(`not understood: ${name} ${rest}`)
  }
  return root
}

function emptyRoot(t: Test): string {
  const folder = mkdtempSync(join(tmpdir(), 'upstreamproxy-root-'))
  t.teardown(() => rmSync(folder, { recursive: true, force: true }))
  chmodSync(folder, 0o755)
  return folder
}

const CONTAINER_PATH = '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin'
const INSTALL_MS = 60_000
