/** A relay that cannot listen leaves nothing behind. */
import { once } from 'node:events'
import * as net from 'node:net'
import t from 'tap'
import { DEFAULT_LIMITS } from '#src/limits.js'
import { createLog } from '#src/log.js'
import { listenRelay } from '#src/relay/relay.js'
import { Token } from '#src/token.js'
import { pause } from '../support/deadline.js'

for (const engine of ['auto', 'node'] as const) {
  t.test(`where the port is taken, nothing is dialled in advance (engine ${engine})`, async (t) => {
    let dialled = 0
    const gateway = net.createServer((socket) => {
      dialled++
      socket.destroy()
    })
    gateway.listen(0, '127.0.0.1')
    t.teardown(() => gateway.close())
    await once(gateway, 'listening')
    const { port } = gateway.address() as net.AddressInfo
    const listening = listenRelay({
      engine,
      // The gateway's own: taken for certain.
      port,
      baseUrl: new URL(`http://127.0.0.1:${port}`),
      secureContext: undefined,
      sessionId: 's',
      token: new Token('t'),
      limits: DEFAULT_LIMITS,
      prewarm: 3,
      log: createLog({ level: 'silent', format: 'text' }),
    })
    await t.rejects(listening, { code: 'ERR_LISTEN', hint: /the port is taken/ })
    await pause(100)
    t.equal(dialled, 0)
  })
}
