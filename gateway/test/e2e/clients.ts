/** Programs that are not ours: where one is not installed, its test is skipped by name; in CI it fails instead. */
import { spawnSync } from 'node:child_process'

/** tap's options for a test that needs the program: `{}`, or a `skip` that says what is missing. */
export function needing(program: string, args: readonly string[] = ['--version']): { skip?: string } {
  const { status } = spawnSync(program, args, { stdio: 'ignore' })
  if (status === 0) return {}
  // .ci/run installs them all: there, a missing one would hide that something is no longer tested.
  if (process.env['CI']) return {}
  return { skip: `${program} is not installed` }
}

/** Path of the interpreter behind `python3`: a version manager's shim looks for its home, which a sandbox has not. */
export function pythonProgram(): string {
  const { stdout } = spawnSync('python3', ['-c', 'import sys; print(sys.executable)'], { encoding: 'utf8' })
  return stdout?.trim() || 'python3'
}
