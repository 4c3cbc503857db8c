/**
 * Writes to one connected stream socket without ever blocking: the kernel is tried at once, what it does not take is
 * kept in a queue of its own. The addon's, by sendmsg on a descriptor of its own.
 *
 * Rule 1: bytes leave in the order in which they were given, each once, or the writer fails and says so.
 * Rule 2: what is given belongs to the caller again when the call returns: what has to wait is copied.
 * Rule 3: `failed` and `closed` come at most once, and nothing after them. No callback comes out of a call of the
 *         caller's own; a failure that a call meets is thrown by that call, and comes by callback only where it was met
 *         without one.
 */
import type { SystemCallError } from './process-control.js'

export interface SocketWriterOptions {
  /** cap on the queue, in bytes: a write that would lift it over is refused whole with ENOBUFS, before a byte is sent */
  readonly maxQueuedBytes: number
  /** the queue has become empty again; after `end()`, `closed` comes in its place */
  readonly onDrained?: () => void
  /** all is written and the writing side is shut down, as `end()` asked */
  readonly onClosed?: () => void
  /** the socket broke while the queue was being drained (ECONNRESET, EPIPE, …); the queue is gone */
  readonly onFailed?: (error: SystemCallError) => void
}

export interface SocketWriter {
  /** bytes that the kernel has not taken yet */
  readonly queuedBytes: number
  /**
   * Writes the pieces in order. Returns `queuedBytes`: 0 where the kernel took everything. Throws a SystemCallError:
   * ENOBUFS over the cap (nothing was sent, the writer goes on); EPIPE after `end()` or `destroy()`; what the kernel
   * answered, ECONNRESET for one (the writer is broken: later calls throw the same).
   */
  write(pieces: readonly Uint8Array[]): number
  /** Flushes, then shuts down the writing side (FIN). Twice is once. Throws as `write` does. */
  end(): void
  /** Drops the queue and lets go of the descriptor, without FIN or RST of its own. No callback follows. Never throws. */
  destroy(): void
}
