/** Every limit of the relay, with its unit and default. All can be set through the `limits` option. */
export interface Limits {
  /** tunnels open at once (default: 4096; each takes two descriptors) */
  readonly maxTunnels: number
  /** longest accepted request head, in bytes (default: 8192) */
  readonly maxHeadBytes: number
  /** largest message taken from the gateway, in bytes (default: 16 MiB); what the relay sends stays under 512 KiB */
  readonly maxMessageBytes: number
  /** time for a client to complete its head, in ms (default: 10 000) */
  readonly headTimeoutMs: number
  /** time from a complete head to the gateway's first byte, the upgrade included, in ms (default: 30 000) */
  readonly gatewayTimeoutMs: number
  /** between keepalive chunks, in ms (default: 30 000: intermediaries cut at 50 000) */
  readonly keepaliveMs: number
  /** between pings to the gateway, in ms (default: 20 000) */
  readonly pingMs: number
  /** without a pong for so long, while reading, the gateway is dead, in ms (default: 60 000) */
  readonly pongTimeoutMs: number
  /** for the gateway to answer a Close, and for a client to read what it was sent last, in ms (default: 10 000) */
  readonly closeTimeoutMs: number
  /** how long a WebSocket that was upgraded in advance is held, in ms (default: 300 000) */
  readonly prewarmTtlMs: number
  /** pause the client above this many bytes queued to the gateway, until they are gone (default: 256 KiB) */
  readonly upHighBytes: number
  /** pause the gateway above this many bytes queued to the client, until they are gone (default: 128 KiB) */
  readonly downHighBytes: number
}

export const DEFAULT_LIMITS: Limits = Object.freeze({
  maxTunnels: 4096,
  maxHeadBytes: 8 * 1024,
  maxMessageBytes: 16 * 1024 * 1024,
  headTimeoutMs: 10_000,
  gatewayTimeoutMs: 30_000,
  keepaliveMs: 30_000,
  pingMs: 20_000,
  pongTimeoutMs: 60_000,
  closeTimeoutMs: 10_000,
  prewarmTtlMs: 300_000,
  upHighBytes: 256 * 1024,
  downHighBytes: 128 * 1024,
})
