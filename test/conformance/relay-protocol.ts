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
}

export type RelayCommand =
  /** the resident set; `collect` asks for a garbage collection first, where the runtime has one to offer */
  { readonly do: 'memory'; readonly collect: boolean } | { readonly do: 'close'; readonly drainMs: number }

export type RelayAnswer =
  | { readonly port: number }
  | { readonly error: string }
  | { readonly rssBytes: number }
  | { readonly closed: true }
