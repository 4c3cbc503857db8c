/** Every limit of the gateway, with its unit, default and reason. Each can be set under `limits:` in the configuration. */

interface LimitEntry {
  readonly default: number
  readonly meaning: string
}

export const LIMITS = {
  maxTunnels: entry(4096, 'tunnels open at once; each takes two descriptors'),
  maxTunnelsPerSession: entry(1024, 'tunnels of one session open at once'),
  maxRequestsPerTunnel: entry(32, 'requests of one tunnel under way at once (HTTP/1.1 pipelining)'),
  maxHeadBytes: entry(16 * 1024, 'largest request head inside a tunnel, in bytes'),
  maxUpstreamHeadBytes: entry(64 * 1024, 'largest response head of an origin, in bytes'),
  maxMessageBytes: entry(16 * 1024 * 1024, 'largest WebSocket message taken from a relay, in bytes'),
  maxLeaves: entry(1024, 'leaf certificates kept in memory'),
  maxIdleUpstream: entry(16, 'idle keep-alive connections kept per session and origin'),
  awaitConnectMs: entry(600_000, 'from the upgrade to the first byte of its CONNECT, in ms'),
  headMs: entry(10_000, 'for a CONNECT head or a request head to complete, in ms'),
  handshakeMs: entry(10_000, 'for the TLS handshake inside a tunnel, in ms'),
  idleMs: entry(120_000, 'between two requests of a tunnel, in ms'),
  connectMs: entry(30_000, 'to look up, connect and do TLS with an origin, in ms'),
  upstreamIdleMs: entry(600_000, 'without a byte to or from an origin during a request, in ms'),
  upstreamKeepAliveMs: entry(30_000, 'an idle keep-alive connection to an origin is kept, in ms'),
  keepaliveMs: entry(30_000, 'between keepalive chunks, in ms; intermediaries cut at 50 000'),
  closeMs: entry(5_000, 'for a relay to answer the Close frame of a tunnel that broke, in ms'),
  lingerMs: entry(2_000, 'for a client to notice a refusal while it sends a body, in ms'),
  finishMs: entry(600_000, 'for a relay to take the rest of a tunnel that ended well, in ms'),
  drainMs: entry(30_000, 'for requests under way to finish at a SIGTERM, in ms'),
  downHighBytes: entry(256 * 1024, 'stop writing to a relay above this many bytes queued'),
  downLowBytes: entry(64 * 1024, 'write on at or below this'),
} as const satisfies Record<string, LimitEntry>

export type LimitName = keyof typeof LIMITS
export type Limits = Readonly<Record<LimitName, number>>

export const DEFAULT_LIMITS: Limits = Object.freeze(
  Object.fromEntries(Object.entries(LIMITS).map(([name, { default: value }]) => [name, value])),
) as Limits

function entry(value: number, meaning: string): LimitEntry {
  return { default: value, meaning }
}
