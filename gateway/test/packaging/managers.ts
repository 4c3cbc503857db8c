/** Package managers: how each installs a project for production, and how each runs a program of a dependency. */
import type { CachedProgram } from '../../../dist-test/support/cached-program.js'
import { type PackageToolName, packageTool } from '../../../dist-test/support/package-tools.js'
import { type RuntimeName, runtimeProgram } from '../../../dist-test/support/runtimes.js'

export interface Manager {
  readonly name: string
  /** the manager's own program: a script for `node`, or an executable */
  readonly tool: CachedProgram
  readonly isScript: boolean
  /** that it runs on, and the project with it */
  readonly runtime: CachedProgram
  /** name of the runtime on PATH */
  readonly runtimeName: 'node' | 'bun'
  /** arguments of the installs, one after the other, each of which leaves the project ready */
  readonly installs: readonly (readonly string[])[]
  /** arguments before the words of a program that a dependency brings */
  readonly run: readonly string[]
  /** words before a file of the project's own; without them, those of the runtime */
  readonly node?: readonly string[]
  /** lines that it prints about itself, whatever is installed, and that are no complaint about this package */
  readonly says?: RegExp
}

/** What npm is told in the examples' Dockerfiles; a test compares them. */
export const NPM_FLAGS = ['--omit=dev', '--no-audit', '--no-fund']

export const MANAGERS: readonly Manager[] = [
  npm('npm-10', thisNode()),
  npm('npm-11', thisNode()),
  npm('npm-12', node('node-22')),
  pnpm('pnpm-11', node('node-22'), { isScript: true }),
  pnpm('pnpm-12', node('node-24'), { isScript: false }),
  {
    ...script('yarn-1', thisNode()),
    installs: [
      ['install', '--production'],
      ['install', '--production', '--frozen-lockfile'],
    ],
    run: ['--silent', 'run'],
    // The manifest says what the checkout's workspaces are, and yarn 1 remarks on it in dependencies, too.
    says: /^warning Workspaces can only be enabled in private projects\.$/gm,
  },
  {
    // As it comes: Plug'n'Play, without node_modules; packages stay zipped unless something in them is native.
    ...script('yarn-4', node('node-22')),
    installs: [
      ['install', '--no-immutable'],
      ['install', '--immutable'],
    ],
    run: ['run'],
    node: ['node'],
    says: /^.*ESM support for PnP uses the experimental loader API.*$|^.*Done with warnings.*$/gm,
  },
  {
    name: 'bun',
    tool: runtimeProgram('bun'),
    isScript: false,
    runtime: runtimeProgram('bun'),
    runtimeName: 'bun',
    installs: [
      ['install', '--production'],
      ['install', '--production', '--frozen-lockfile'],
    ],
    run: ['--bun', 'x', '--no-install'],
  },
]

function npm(name: PackageToolName, runtime: CachedProgram): Manager {
  return {
    ...script(name, runtime),
    installs: ['install', 'ci'].map((command) => [command, ...NPM_FLAGS]),
    run: ['exec', '--offline', '--'],
  }
}

function pnpm(name: PackageToolName, runtime: CachedProgram, { isScript }: { isScript: boolean }): Manager {
  return {
    ...script(name, runtime),
    isScript,
    installs: [
      ['install', '--prod', '--no-frozen-lockfile'],
      ['install', '--prod', '--frozen-lockfile'],
    ],
    run: ['exec'],
  }
}

function script(name: PackageToolName, runtime: CachedProgram) {
  return { name, tool: packageTool(name), isScript: true, runtime, runtimeName: 'node' } as const
}

function node(name: RuntimeName): CachedProgram {
  return runtimeProgram(name)
}

// The one that runs the tests.
function thisNode(): CachedProgram {
  return { program: process.execPath }
}
