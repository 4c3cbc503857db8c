/** The bytes of a connection to the gateway, after its upgrade: by Node's TLS, or by the addon where there is no TLS. */

export interface LinkEvents {
  /** on loan: the link's again when the call returns */
  bytes(bytes: Buffer): void
  /** what was queued has gone out */
  drained(): void
  /** the gateway's FIN; `isFin` is false where it may have been a reset */
  ended(isFin: boolean): void
  /** gone without an end; nothing comes after it */
  lost(cause: Error | undefined): void
  /** gone, after `end` of both sides */
  closed(): void
  /** a frame that may be sent at any time, or nothing where none may */
  probe(): Buffer
}

export interface Link {
  readonly queuedBytes: number
  /** true where the client is to be paused until `drained` */
  readonly full: boolean
  /** true where nothing is queued, and nothing under way */
  readonly isFree: boolean
  /** The bytes are the link's from now on. */
  write(bytes: Buffer): void
  /** true where what is lent now is the caller's again when the call returns; else it is when the link is free again */
  readonly takesAtOnce: boolean
  lend(bytes: Buffer): void
  pause(): void
  resume(): void
  /** Flushes, then ends the writing side. */
  end(): void
  /** No event follows. */
  destroy(): void
}
