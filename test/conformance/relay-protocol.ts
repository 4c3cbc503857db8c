/** What the driver and the program under test say to each other, one JSON document a line. */
import type { Limits } from '#src/limits.js'

export interface RelayConfiguration {
  readonly baseUrl: string
  readonly sessionId: string
  readonly token: string
  /** roots for TLS to the gateway */
  readonly caPem?: string
  /** where they differ from the defaults */
  readonly limits?: Partial<Limits>
  readonly engine?: string
  readonly prewarm?: number
  /** in a thread of its own */
  readonly thread?: boolean
}

export type RelayCommand =
  /** what the process takes, after a garbage collection where the runtime has one to offer */
  { readonly do: 'memory' } | { readonly do: 'close'; readonly drainMs: number }

export interface Memory {
  readonly residentBytes: number
  /** heap in use, and what lies outside it on behalf of the heap's objects: buffers, those of TLS too */
  readonly heldBytes: number
}

export type RelayAnswer =
  | { readonly port: number }
  | { readonly error: string }
  | { readonly memory: Memory }
  | { readonly closed: true }
