/** What a command may touch of the process around it. `src/cli.ts` makes the real one; nothing else prints or exits. */

export interface Io {
  readonly env: NodeJS.ProcessEnv
  /** whether standard output is a terminal: a person reads it */
  readonly outIsTerminal: boolean
  /** whether escape sequences for colour are welcome on standard output */
  readonly colour: boolean
  /** writes to standard output at once; a reader that has gone away is no error */
  out(text: string): void
  /** writes to standard error at once; a reader that has gone away is no error */
  err(text: string): void
}

/** How a command ends: an exit status, or the signal that the process shall die of. */
export type Ending = number | NodeJS.Signals

/** Exit statuses of our own: sysexits.h where it has one, what shells use (127, 126, 128 + signal) for commands. */
export const EXIT = {
  ok: 0,
  usage: 64,
  unavailable: 69,
  internal: 70,
  cannotCreate: 73,
  notExecutable: 126,
  notFound: 127,
  signalBase: 128,
} as const
