import t from 'tap'
import { connect, exchange, secure } from './support/client.js'
import { API_KEY, eventually, testGateway } from './support/gateway.js'
import { testOrigin } from './support/origin.js'
import { makePki } from './support/pki.js'

const pki = await makePki()
const ACME = `
default: allow
secrets: { api-key: { env: API_KEY } }
rules:
  - match: { host: origin.test, path: "/v1/**" }
    set: { authorization: "Bearer \${secret:api-key}" }
  - match: { host: origin.test, path: "/denied" }
    action: deny
`

t.test(
  "a configured header is on every request of a connection, and the client's own copy is not",
  async (t) => {
    const origin = await testOrigin(t, pki)
    const { gateway, records } = await testGateway(t, { acme: ACME, originCa: pki.caPem })
    const socket = await secure(gateway.url, origin.authority, { ca: gateway.caCertificate })
    for (let i = 0; i < 3; i++) {
      const answer = await exchange(socket, {
        path: `/v1/users?id=${i}`,
        headers: { Host: origin.authority, AUTHORIZATION: 'Bearer mine' },
      })
      t.equal(answer.status, 200)
      t.equal(JSON.parse(answer.body).headers.authorization, `Bearer ${API_KEY}`)
    }
    socket.end()
    await eventually(() => records().length === 4)
  },
)
