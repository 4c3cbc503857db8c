/** A tunnel whose actions are written down instead of done. */
import type { ConnectRequest, OriginRequest } from '#src/wire/request-head.js'
import { Tunnel, type TunnelActions, type TunnelDeadlines } from '#src/wire/tunnel.js'

/** An action as a word and, where it has one, what it was given: text of bytes, a target, an error's code. */
export type Recorded = readonly [action: keyof TunnelActions, given?: string]

export const deadlines: TunnelDeadlines = {
  maxHeadBytes: 8192,
  headTimeoutMs: 10_000,
  gatewayTimeoutMs: 30_000,
  keepaliveMs: 30_000,
  pingMs: 20_000,
  pongTimeoutMs: 60_000,
  closeTimeoutMs: 5_000,
}

export interface RecordedTunnel {
  readonly tunnel: Tunnel
  /** all actions so far */
  readonly actions: Recorded[]
  /** the actions since the last call of this */
  fresh(): Recorded[]
  client(text: string): void
  gateway(text: string): void
  /** moves the clock on */
  pass(ms: number, options?: { readonly paused?: boolean; readonly unsentBytes?: number }): void
}

export function recordedTunnel(overrides: Partial<TunnelDeadlines> = {}): RecordedTunnel {
  const actions: Recorded[] = []
  const plain = (action: keyof TunnelActions) => () => void actions.push([action])
  const withBytes = (action: keyof TunnelActions) => (bytes: Buffer) =>
    void actions.push([action, bytes.toString('latin1')])
  const withError = (action: keyof TunnelActions) => (error: { readonly code: string }) =>
    void actions.push([action, error.code])
  const withRequest = (action: keyof TunnelActions) => (request: ConnectRequest | OriginRequest) =>
    void actions.push([action, request.kind === 'connect' ? request.authority : request.target])
  let now = 1_000_000
  const tunnel = new Tunnel(
    {
      dial: withRequest('dial'),
      sendConnect: withRequest('sendConnect'),
      serve: withRequest('serve'),
      sendUp: withBytes('sendUp'),
      writeDown: withBytes('writeDown'),
      answer: withError('answer'),
      record: withError('record'),
      endClient: plain('endClient'),
      resetClient: plain('resetClient'),
      closeGateway: plain('closeGateway'),
      abortGateway: plain('abortGateway'),
      sendKeepalive: plain('sendKeepalive'),
      sendPing: plain('sendPing'),
      release: plain('release'),
    },
    { ...deadlines, ...overrides },
    now,
  )
  let read = 0
  return {
    tunnel,
    actions,
    fresh() {
      const from = read
      read = actions.length
      return actions.slice(from)
    },
    client: (text) => tunnel.clientBytes(Buffer.from(text, 'latin1')),
    gateway: (text) => tunnel.gatewayBytes(Buffer.from(text, 'latin1')),
    pass(ms, { paused = false, unsentBytes = 0 } = {}) {
      now += ms
      tunnel.tick(now, paused, unsentBytes)
    },
  }
}

export const HEAD = 'CONNECT Example.com:443 HTTP/1.1\r\nHost: a\r\n\r\n'
export const ACCEPTED = 'HTTP/1.1 200 Connection Established\r\n\r\n'
export const REFUSED = 'HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\n\r\nno'

/** All that went down to the client. */
export function downTo(actions: readonly Recorded[]): string {
  return actions.flatMap(([action, text]) => (action === 'writeDown' ? [text] : [])).join('')
}
