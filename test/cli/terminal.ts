/** Runs a program on a terminal of its own (python3's pty module), and types. */
import { spawnSync } from 'node:child_process'
import type { Test } from 'tap'
import { bareEnvironment, type Environment, startProcess } from './program.js'

// The interpreter itself: a shim in front of it may need more of the environment than the tests give.
const PYTHON =
  spawnSync('python3', ['-c', 'import pty, sys; print(sys.executable)'], {
    encoding: 'utf8',
  }).stdout?.trim() ?? ''

/** For a test that needs a terminal: why it is skipped, or false. */
export const NO_TERMINAL = PYTHON === '' && 'needs python3 with its pty module'

/** Wait until the terminal shows a text; type; signal the program; change the rows; wait for `told`. */
export type Step = ['see' | 'type' | 'signal', string] | ['resize', rows: number] | ['told']

export interface TerminalEnding {
  /** what the terminal showed, in all */
  readonly shown: string
  /** exit status, or the negative number of the signal */
  readonly ended: number
}

/** Takes the steps in their order, then waits for the end. Rejects after 30 s. */
export async function onTerminal(
  t: Test,
  steps: readonly Step[],
  argv: readonly string[],
  env: Environment = bareEnvironment(t),
  told?: Promise<unknown>,
): Promise<TerminalEnding> {
  const terminal = startProcess(t, PYTHON, ['-c', DRIVER, JSON.stringify(steps), ...argv], env)
  if (told !== undefined) void told.then(() => terminal.process.stdin?.end('\n'))
  const { out, err } = await terminal.ended
  if (err !== '') throw new Error(err)
  return JSON.parse(out)
}

const DRIVER = `
import fcntl, json, os, pty, select, signal, struct, sys, termios, time
steps, argv = json.loads(sys.argv[1]), sys.argv[2:]
pid, terminal = pty.fork()
if pid == 0:
    os.execvp(argv[0], argv)
shown, seen, deadline = b'', 0, time.time() + 30
def read():
    global shown
    if time.time() > deadline:
        os.kill(pid, signal.SIGKILL)
        sys.exit('deadline; shown: %r' % shown)
    if select.select([terminal], [], [], 0.1)[0]:
        try:
            data = os.read(terminal, 4096)
        except OSError:
            return False
        shown += data
        return len(data) > 0
    return True
for kind, *values in steps:
    value = values[0] if values else None
    if kind == 'see':
        while shown.find(value.encode(), seen) < 0:
            if not read():
                break
        seen = shown.find(value.encode(), seen) + 1
    elif kind == 'type':
        os.write(terminal, value.encode())
    elif kind == 'resize':
        fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack('HHHH', value, 80, 0, 0))
    elif kind == 'told':
        sys.stdin.readline()
    elif kind == 'signal':
        os.kill(pid, getattr(signal, value))
while read():
    pass
status = os.waitpid(pid, 0)[1]
print(json.dumps({'shown': shown.decode(), 'ended': os.waitstatus_to_exitcode(status)}))
`
