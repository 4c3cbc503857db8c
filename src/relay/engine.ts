/**
 * What carries a tunnel's bytes: a client's socket on one side, a WebSocket to the gateway on the other. Each engine has
 * its own of both; what they carry, and when, connection.ts says, the same for all.
 */
import type { ProxyError } from '../errors.js'

export type EngineName = 'node' | 'native'

export interface Engine {
  readonly name: EngineName
  /**
   * Listens on 127.0.0.1 and accepts; keeps no process alive. Rejects with the system's error.
   * @param port 0: any free one
   */
  listen(port: number, onClient: (client: ClientSocket) => void): Promise<Listener>
  /** Starts an upgrade. Events come from a later turn on. */
  dial(options: GatewayOptions, events: GatewayEvents): GatewaySocket
}

export interface Listener {
  readonly port: number
  close(): void
}

/** An accepted connection. What is written is never lost while it lives, and never waits in more than one place. */
export interface ClientSocket {
  /** bytes that the kernel has not taken yet */
  readonly queuedBytes: number
  /** true where `drained` will come */
  readonly needsDrain: boolean
  /** Begins to read. Once, before anything else. */
  start(events: ClientEvents): void
  /** The bytes are the socket's from now on. */
  write(bytes: Buffer): void
  /** Writes, then FIN. Reading goes on. */
  end(bytes?: Buffer): void
  pause(): void
  resume(): void
  /** Calls back once all that was written is with the kernel; not at all where the connection breaks before. */
  flushed(callback: () => void): void
  /** RST; `closed` follows */
  reset(): void
  /** Closes, as far as can be without a RST; `closed` follows. */
  destroy(): void
}

export interface ClientEvents {
  /** on loan: theirs again when the call returns */
  bytes(bytes: Buffer): void
  /** a FIN, and no reset */
  end(): void
  drained(): void
  /** gone, both ways; once, the last event, out of no call of ours */
  closed(): void
}

export interface GatewayOptions {
  readonly token: string
  readonly maxMessageBytes: number
  /** how long a gateway that has sent its Close may take to close its TCP, in ms */
  readonly closeTimeoutMs: number
  /** watermark of what is queued to the gateway, in bytes */
  readonly highBytes: number
}

/**
 * One WebSocket to the gateway.
 *
 * Rule 1: `end` or `failed` comes once, after all bytes that came before it, and nothing comes after it.
 * Rule 2: an end is clean only where the gateway closed with 1000 or without a code, or ended its TCP between messages.
 */
export interface GatewaySocket {
  /** From now on it serves this client, and tells these events. Once, before the first byte of the gateway's. */
  attach(client: ClientSocket, events: GatewayEvents): void
  /** bytes that the kernel has not taken yet */
  readonly queuedBytes: number
  /** true where the client is to be paused; `drained` will come */
  readonly full: boolean
  /** Sends bytes as chunks. They are the caller's again when the call returns. */
  send(bytes: Buffer): void
  sendKeepalive(): void
  ping(): void
  pause(): void
  resume(): void
  /** Close 1000, after what is queued. */
  close(): void
  /** Drops the connection without a Close. No event follows. */
  abort(): void
}

export interface GatewayEvents {
  /** true where payload needs nobody's look any more: an engine may write it to the client itself, and say `passed` */
  readonly streams: boolean
  /** the upgrade is done */
  open(): void
  /** a chunk's payload, not empty; the receiver's from now on */
  bytes(payload: Buffer): void
  /** so many bytes of payload have been written to the client */
  passed(bytes: number): void
  pong(): void
  /** what was queued has gone out */
  drained(): void
  end(): void
  failed(error: ProxyError): void
}
