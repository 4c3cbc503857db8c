/** A relay that is not honest: TCP to TCP, and once in each direction, in the middle of what it carries, it does as it is told. */
import { once } from 'node:events'
import * as net from 'node:net'

export type Tampering =
  | 'nothing'
  | 'drops one byte'
  | 'alters one bit'
  | 'doubles one byte'
  | 'ends early'
  | 'crosses tunnels'

/** Listens on a free port of loopback; `close` ends it and its connections. */
export async function tamperingRelay(gatewayPort: number, tampering: Tampering) {
  const sockets = new Set<net.Socket>()
  const gateways: net.Socket[] = []
  const track = (socket: net.Socket, other: net.Socket) => {
    sockets.add(socket)
    socket.setNoDelay(true)
    // Whatever happens to one happens to both; the load tools tell what they felt.
    socket.on('error', () => other.destroy())
    socket.on('close', () => other.destroy())
  }
  const server = net.createServer((client) => {
    const gateway = net.connect(gatewayPort, '127.0.0.1')
    const number = gateways.push(gateway) - 1
    track(client, gateway)
    track(gateway, client)
    const carry = (from: net.Socket, to: () => net.Socket) => {
      let carried = 0
      from.on('data', (bytes: Buffer) => {
        const before = carried
        carried += bytes.length
        const at = WHERE - before
        const here = at >= 0 && at < bytes.length
        if (here && tampering === 'ends early') from.destroy()
        else to().write(here ? tampered(bytes, at, tampering) : bytes)
      })
    }
    let up = 0
    client.on('data', (bytes: Buffer) => {
      up += bytes.length
    })
    // From the middle on, another tunnel's gateway has what this client sends.
    carry(client, () =>
      tampering === 'crosses tunnels' && up > WHERE ? (gateways[1 - number] ?? gateway) : gateway,
    )
    carry(gateway, () => client)
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as net.AddressInfo
  const close = () => {
    server.close()
    for (const socket of sockets) socket.destroy()
  }
  return { port, close }
}

function tampered(bytes: Buffer, at: number, tampering: Tampering): Buffer {
  const before = bytes.subarray(0, at)
  if (tampering === 'drops one byte') return Buffer.concat([before, bytes.subarray(at + 1)])
  if (tampering === 'doubles one byte')
    return Buffer.concat([before, bytes.subarray(at, at + 1), bytes.subarray(at)])
  if (tampering !== 'alters one bit') return bytes
  const altered = Buffer.from(bytes)
  altered[at] = altered[at]! ^ 1
  return altered
}

// Behind the CONNECT and its answer, well within the smallest transfer of the tests.
const WHERE = 300_000
