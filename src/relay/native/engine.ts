/**
 * The native engine: the addon accepts, reads, frames, decodes and writes; Node does TLS; JavaScript decides.
 * Linux under Node, where the addon loads.
 */
import type { Limits } from '../../limits.js'
import type { Log } from '../../log.js'
import type { NativeDataPath } from '../../platform/addon.js'
import type { Engine } from '../engine.js'
import type { GatewayDialer } from '../gateway-dialer.js'
import { NativeClientSocket } from './client-socket.js'
import { NativeGatewaySocket, type NativeParts } from './gateway-socket.js'
import { Turns } from './turns.js'

export function nativeEngine(
  { framing, sockets }: NativeDataPath,
  dialer: GatewayDialer,
  { limits, log }: { readonly limits: Limits; readonly log: Log },
): Engine {
  const arena = sockets.readArena()
  const parts: NativeParts = {
    sockets,
    framing,
    dialer,
    arena,
    inbox: Buffer.allocUnsafeSlow(INBOX_BYTES),
    turns: new Turns(() => sockets.flush()),
  }
  // Above the watermark there is what was under way when the gateway was paused: a message, at the most.
  const maxQueuedBytes = limits.downHighBytes + limits.maxMessageBytes + INBOX_BYTES + arena.bytes.length
  const clientParts = { sockets, arena, maxQueuedBytes, log }
  return {
    name: 'native',
    listen: async (port, onClient) => {
      const listener = new sockets.LoopbackListener(port, BACKLOG, {
        onConnection: (descriptor) => onClient(new NativeClientSocket(descriptor, clientParts)),
        onFailed: (error) => {
          log.warn('accept-failed', { message: error.message })
          setTimeout(() => listener.resume(), ACCEPT_PAUSE_MS).unref()
        },
      }).unref()
      return listener
    },
    dial: (options, events) => new NativeGatewaySocket(parts, options, events),
  }
}

const BACKLOG = 1024
const ACCEPT_PAUSE_MS = 100
// TLS hands on a record at a time, 16 KiB at most; without it, what one read of the upgrade brings.
const INBOX_BYTES = 64 * 1024
