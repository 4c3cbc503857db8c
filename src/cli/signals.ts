/**
 * Signals, caught from the first moment and given to whoever is in charge at the time: nothing that arrives while
 * there is nobody to take it is lost.
 *
 * Rule 1: listeners are never removed. Taking away the last one restores the default action, which for SIGUSR1 is
 * Node's inspector, and with it the heap that holds the token.
 */
import { readFileSync } from 'node:fs'
import { constants } from 'node:os'
import { isatty } from 'node:tty'
import { EXIT } from './io.js'

/** Signals that ask a program to end. SIGINT is here, although it is rarely forwarded (see `isFromTerminal`). */
export const ENDING_SIGNALS: readonly NodeJS.Signals[] = ['SIGTERM', 'SIGINT', 'SIGHUP', 'SIGQUIT']

/** Every signal that `run` catches: the above, and those that a command may have a use for. */
export const FORWARDED_SIGNALS: readonly NodeJS.Signals[] = [
  ...ENDING_SIGNALS,
  'SIGUSR1',
  'SIGUSR2',
  'SIGCONT',
  'SIGWINCH',
]

/** Whether a signal asks us to end. */
export const isEndingSignal = (signal: NodeJS.Signals): boolean => ENDING_SIGNALS.includes(signal)

/** Puts a receiver in charge: it gets the signals that found nobody, in order, then every later one as it comes. */
export type DeliverTo = (receiver: (signal: NodeJS.Signals) => unknown) => void

/** Catches `signals` from now until the process ends. */
export function catchSignals(signals: readonly NodeJS.Signals[]): DeliverTo {
  const waiting: NodeJS.Signals[] = []
  let receive: (signal: NodeJS.Signals) => unknown = (signal) => waiting.push(signal)
  for (const signal of signals) process.on(signal, () => receive(signal))
  return (receiver) => {
    receive = receiver
    for (const signal of waiting.splice(0)) receiver(signal)
  }
}

/** Takes charge, and resolves at the first signal that asks us to end; all others are dropped. */
export function nextEndingSignal(deliverTo: DeliverTo): Promise<undefined> {
  return new Promise((resolve) => deliverTo((signal) => isEndingSignal(signal) && resolve(undefined)))
}

/** The exit status by which shells report a death by `signal`. */
export function signalStatus(signal: NodeJS.Signals): number {
  return EXIT.signalBase + constants.signals[signal]
}

/**
 * Whether a signal that has just come is one that the terminal made, from a key (Ctrl-C, Ctrl-\) or a change of
 * its size. The kernel sends those to the whole foreground process group, so a child in our group has its own copy
 * already. Node does not tell who sent a signal; while we are in the foreground of a terminal we take it for the
 * terminal's.
 */
export function isFromTerminal(signal: NodeJS.Signals): boolean {
  return TERMINAL_SIGNALS.has(signal) && isInForeground()
}

// proc_pid_stat(5): after the name in parentheses come state, ppid, pgrp, session, tty_nr, tpgid. The file stays
// readable to a non-dumpable process.
function isInForeground(): boolean {
  try {
    const stat = readFileSync('/proc/self/stat', 'latin1')
    const [, , group, , terminal, foregroundGroup] = stat.slice(stat.lastIndexOf(')') + 2).split(' ')
    return terminal !== '0' && group === foregroundGroup
  } catch {
    // No /proc (other systems): a process with a terminal on its standard streams is taken to be in front of it.
    return [0, 1, 2].some((descriptor) => isatty(descriptor))
  }
}

const TERMINAL_SIGNALS: ReadonlySet<NodeJS.Signals> = new Set<NodeJS.Signals>([
  'SIGINT',
  'SIGQUIT',
  'SIGWINCH',
])
