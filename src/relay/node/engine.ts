/** The portable engine: Node's own sockets, frames in TypeScript. It runs wherever Node or Bun does. */
import * as net from 'node:net'
import type { Log } from '../../log.js'
import type { Engine } from '../engine.js'
import type { GatewayDialer } from '../gateway-dialer.js'
import { NodeClientSocket } from './client-socket.js'
import { Arenas, NodeGatewaySocket } from './gateway-socket.js'

export function nodeEngine(dialer: GatewayDialer, log: Log): Engine {
  const arenas = new Arenas()
  return {
    name: 'node',
    listen: (port, onClient) =>
      new Promise((resolve, reject) => {
        const server = net.createServer({ allowHalfOpen: true, noDelay: true }, (socket) =>
          onClient(new NodeClientSocket(socket, log)),
        )
        server.once('error', reject)
        server.listen({ host: '127.0.0.1', port, backlog: BACKLOG, exclusive: true }, () => {
          server.off('error', reject)
          server.unref()
          resolve({
            port: (server.address() as net.AddressInfo).port,
            close: () => server.close(),
          })
        })
      }),
    dial: (options, events) => new NodeGatewaySocket(dialer, arenas, options, events),
  }
}

const BACKLOG = 1024
