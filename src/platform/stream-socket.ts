/**
 * Sockets of the addon's own: a connected stream socket that is read and written without Node's streams, and a listener
 * on loopback. On Linux under Node alone.
 *
 * Rule 1: reads go into one arena that all sockets of a thread share: `onRead` must be done with its bytes when it
 *         returns. So an idle socket owns no memory for reading.
 * Rule 2: one read a wake-up, of at most 512 KiB: others have their turn.
 * Rule 3: what goes wrong comes once: thrown by the call that meets it, else by `onFailed`. Where a write fails, bytes that
 *         came before the peer went are still read (unless `watchPaused`), and then the failure comes again, by `onFailed`.
 */
import type { SystemCallError } from './process-control.js'
import type { SocketWriter, SocketWriterOptions } from './socket-writer.js'

/** Callbacks are called as methods of the options object. */
export interface StreamSocketOptions extends SocketWriterOptions {
  /** the descriptor becomes the socket's own, in place of a duplicate; it must be non-blocking */
  readonly adopt?: boolean
  /** tell a reset also while reading is stopped; what was not read is then lost */
  readonly watchPaused?: boolean
  /** so many bytes lie in the arena from its offset on; 0 is the end of the stream (FIN) */
  onRead?(bytes: number): void
}

export interface StreamSocket extends SocketWriter {
  write(pieces: readonly Uint8Array[] | Uint8Array): number
  /** @throws TypeError before `readArena` was called */
  readStart(): void
  readStop(): void
  /** Drops all, with a RST to the peer. No callback follows. */
  reset(): void
  /** lets the process end although the socket is watched */
  unref(): this
  ref(): this
}

export interface ReadArena {
  readonly bytes: Buffer
  /** where what is read begins; before it is room for a frame's headers */
  readonly offset: number
}

export interface LoopbackListener {
  readonly port: number
  close(): void
  /** goes on after `onFailed` */
  resume(): void
  unref(): this
}

export interface LoopbackListenerOptions {
  /** a descriptor, the callee's own: non-blocking, close-on-exec, TCP_NODELAY */
  onConnection(descriptor: number): void
  /** EMFILE, ENFILE, ENOBUFS, ENOMEM: it has stopped to accept, until `resume` */
  onFailed(error: SystemCallError): void
}

export interface NativeSockets {
  readonly StreamSocket: new (descriptor: number, options: StreamSocketOptions) => StreamSocket
  /** Port 0: any free one. Throws a SystemCallError (EADDRINUSE, EACCES). */
  readonly LoopbackListener: new (
    port: number,
    backlog: number,
    options: LoopbackListenerOptions,
  ) => LoopbackListener
  readArena(): ReadArena
  /**
   * Sends what `PassingDecoder.pass` has gathered. Every call of the socket's does so for its own, in order; this is for the
   * end of a turn, when nothing follows.
   */
  flush(): void
}
