/**
 * Keeps SIGUSR1 from opening Node's inspector, for as long as the process lives.
 *
 * Rule 1: a listener of ours is always there; while nobody else listens, the kernel ignores the signal as well. Where
 *         all listeners are removed, Node sets the default action, which kills: then both come back.
 * Rule 2: a listener of the host's gets the signal, whenever it comes. Node tells libuv of a signal's first listener
 *         only, so a later one finds the signal ignored unless it is put back for it.
 * Rule 3: what is done here never throws into the host's own call of `on` or `off`.
 */
import { isMainThread } from 'node:worker_threads'
import { type ProcessControl, processControl, reasonOf } from '../platform/index.js'
import type { Shortfall } from './shortfall.js'

/** From now on, and done once however often it is called. @returns what could not be done */
export function keepSigusr1(): readonly Shortfall[] {
  shortfalls ??= keep()
  return shortfalls
}

let shortfalls: readonly Shortfall[] | undefined

function keep(): readonly Shortfall[] {
  // Bun opens no inspector at it, and its default action is for the host to choose.
  if (process.versions['bun'] !== undefined) return []
  const found = processControl()
  const control = 'absent' in found ? undefined : found.control
  try {
    if (isMainThread) listen(control)
    else ignoreFromWorker(control, 'absent' in found ? found.absent : '')
  } catch (error) {
    return [{ measure: 'sigusr1', reason: reasonOf(error) }]
  }
  return []
}

function listen(control: ProcessControl | undefined): void {
  process.on('newListener', (name, listener) => {
    if (name === SIGUSR1 && listener !== ours) quietly(() => control?.restoreSigusr1())
  })
  process.on('removeListener', (name) => {
    if (name === SIGUSR1) quietly(() => attend(control))
  })
  process.on(SIGUSR1, ours)
  attend(control)
}

function attend(control: ProcessControl | undefined): void {
  const listeners = process.listeners(SIGUSR1)
  if (listeners.some((listener) => listener !== ours)) return
  // Before the kernel is asked, which may refuse.
  if (listeners.length === 0) queueMicrotask(() => comeBack(control))
  control?.ignoreSigusr1()
}

// Not at once: a host that removes listeners until there are none must come to an end.
function comeBack(control: ProcessControl | undefined): void {
  if (process.listenerCount(SIGUSR1) > 0) return
  quietly(() => {
    process.on(SIGUSR1, ours)
    attend(control)
  })
}

// Listeners of signals do nothing in a worker thread, so the kernel's part has to do; dispositions are the whole
// process's. Whether the main thread listens cannot be seen from here.
function ignoreFromWorker(control: ProcessControl | undefined, absent: string): void {
  if (control === undefined) throw new Error(`a worker thread cannot listen to signals; ${absent}`)
  control.ignoreSigusr1()
}

function quietly(work: () => void): void {
  try {
    work()
  } catch {
    // Rule 3. The kernel took the same call at the start; and a listener of ours is there still, or comes back.
  }
}

const SIGUSR1 = 'SIGUSR1'
const ours = () => undefined
