import { once } from 'node:events'
import { readdirSync, readFileSync, statSync } from 'node:fs'
import type { IncomingMessage } from 'node:http'
import { get } from 'node:https'
import { join } from 'node:path'
import { text } from 'node:stream/consumers'
import t from 'tap'
import { WIRE_PATHS } from 'upstreamproxy/wire'
import { within } from '../../../dist-test/support/deadline.js'
import { RawClient } from '../../../dist-test/support/raw-client.js'
import { needing } from './clients.js'
import { startProgram } from './processes.js'
import { RELAY_CLI } from './sandbox.js'
import { Evidence } from './secrets.js'
import { observe, startWorld, type World } from './world.js'

const NEEDS_PROC = { skip: process.platform === 'linux' ? false : 'needs /proc' }
const SECRET = 'a+secret/of="27"%&characters'

const BAD_REQUESTS = [
  'GET / HTTP/1.1\r\nHost: x\r\n\r\n',
  'GET /__upstreamproxy/status HTTP/1.1\r\nHost: evil.test\r\n\r\n',
  'POST https://api.test/ HTTP/1.1\r\nHost: api.test\r\n\r\n',
  'CONNECT api.test HTTP/1.1\r\n\r\n',
  'CONNECT user@api.test:443 HTTP/1.1\r\n\r\n',
  `CONNECT api.test:443 HTTP/1.1\r\nX: ${'x'.repeat(9000)}\r\n\r\n`,
  '\x16\x03\x01\x02\x00\x01',
]

const UPGRADE = {
  connection: 'Upgrade',
  upgrade: 'websocket',
  'sec-websocket-version': '13',
  'sec-websocket-key': Buffer.alloc(16).toString('base64'),
}

// Standard input that stays open.
const NEVER: AsyncIterable<Buffer> = {
  [Symbol.asyncIterator]: () => ({ next: () => new Promise(() => undefined) }),
}

t.test('the search finds a secret in every form that text can give it', (t) => {
  const written: Record<string, string> = {
    plain: `Authorization: Bearer ${SECRET}\r\n`,
    json: JSON.stringify({ error: `token ${SECRET} refused` }),
    url: `https://origin.test/?token=${encodeURIComponent(SECRET)}&next=1`,
    form: new URLSearchParams({ token: SECRET }).toString(),
    hex: Buffer.from(`<${SECRET}>`).toString('hex'),
    'basic, id of 9': Buffer.from(`session-1:${SECRET}`).toString('base64'),
    'basic, id of 10': Buffer.from(`session-12:${SECRET}`).toString('base64'),
    'basic, id of 11': Buffer.from(`session-123:${SECRET}`).toString('base64'),
    'base64 with more after it': Buffer.from(`a:${SECRET} and more`).toString('base64'),
    base64url: Buffer.from(`${SECRET}?~`).toString('base64url'),
    'among other bytes': `\0\xff${SECRET}\0`,
  }
  for (const [where, text] of Object.entries(written)) {
    const evidence = new Evidence()
    evidence.add(where, text)
    const leaks = evidence.leaks({ token: SECRET })
    t.ok(leaks.length > 0, where)
    // What has neither + nor / is found as base64url as well.
    for (const leak of leaks) t.ok(leak.startsWith(`${where} holds token as `), leak)
    t.same(evidence.leaks({ other: 'another-secret' }), [], `${where}: and only that one`)
  }
  t.end()
})

t.test(
  'the search finds a secret in the arguments and variables of a running process',
  NEEDS_PROC,
  async (t) => {
    const script = 'echo ready; read line'
    for (const [words, env, place] of [
      [['-c', script, SECRET], {}, 'arguments'],
      [['-c', script], { SOME_VARIABLE: SECRET }, 'environment'],
      [['-c', `sh -c '${script}' sh "$0"; true`, SECRET], {}, 'arguments'],
    ] as const) {
      const program = startProgram(t, 'sh', words, {
        env: { PATH: process.env['PATH'] ?? '', ...env },
        input: NEVER,
      })
      await program.shows(/ready/)
      const evidence = new Evidence()
      observe(program, evidence)
      t.match(evidence.leaks({ token: SECRET }).join(), new RegExp(`${place} of sh.* holds token as itself`))
      program.process.kill('SIGKILL')
    }
  },
)

t.test('in good days and bad, token and secrets are seen nowhere', needing('curl'), async (t) => {
  const world = await startWorld(t)
  const { evidence, organisation } = world

  // All goes well, and everything is looked at while curl waits for its answer.
  const sandbox = world.sandbox()
  const arrived = world.api.nextRequest()
  const script = 'env; "$@" status --json; "$@" status; curl -sSv "$0"; echo done; read line'
  const waiting = sandbox.start(
    ['sh', '-c', script, world.url('api', '/hold/canary'), process.execPath, RELAY_CLI],
    {
      flags: ['--log-format', 'json'],
      input: NEVER,
    },
  )
  const request = await within(arrived, 'the request')
  t.equal(request.headers['x-api-key'], organisation.headers.apiKey)
  t.throws(() => statSync(sandbox.tokenFile), { code: 'ENOENT' }, 'the token file is gone')
  if (process.platform === 'linux') {
    const places = evidence.places.join('\n')
    for (const who of ['node cli.js', 'sh -c', 'curl -sSv']) t.match(places, `arguments of ${who}`)
    for (const who of ['sh -c', 'curl -sSv']) t.match(places, `environment of ${who}`)
    t.match(places, 'environment of node cli.js', 'the gateway’s at least')
  }
  world.api.release()
  await within(waiting.shows(/done/), 'curl’s answer')
  const relayPort = Number(/HTTPS_PROXY=http:\/\/127\.0\.0\.1:(\d+)/.exec(waiting.out())?.[1])
  t.match(waiting.out(), '"tunnels"', 'the status document was shown')

  // Whatever is wrong with a request to the relay, the answer is searched.
  for (const bytes of BAD_REQUESTS) evidence.add('answers of the relay', await answerTo(relayPort, bytes))
  process.kill(-waiting.pid, 'SIGTERM')
  await within(waiting.ended, 'the end of the session')

  // What the gateway refuses: an unknown token, a session and a token that do not belong together.
  const other = world.sandbox()
  const url = world.url('api', '/refused')
  for (const env of [
    { ...other.env, CLAUDE_CODE_REMOTE_SESSION_ID: 'session-9' },
    { ...other.env, CLAUDE_CODE_REMOTE_SESSION_ID: 'nobody' },
  ]) {
    const refused = await other.run(['curl', '-sSv', url], { env })
    t.match(refused.err, /407 /, 'the session is refused')
  }
  const unknown = await other.run(['curl', '-sSv', url], { token: 'canary-that-nobody-issued' })
  t.match(unknown.err, /502 /, 'the token is refused')
  t.notMatch(unknown.err, 'canary-that-nobody-issued')
  const denied = await other.run(['curl', '-sSv', 'https://a.blocked.test/', world.url('stranger', '/')])
  t.match(denied.out + denied.err, /denied-by-rule/)
  t.match(denied.out, /upstream-certificate/)
  t.equal(world.api.requests.length, 1)

  // What the gateway answers to those who come past the relay.
  const { id, token } = organisation.sessions[0]!
  const bearer = { authorization: `Bearer ${token}`, 'content-type': 'application/proto' }
  const basic = { authorization: `Basic ${Buffer.from(`${id}:${token}`).toString('base64')}` }
  for (const [path, headers, status] of [
    [WIRE_PATHS.webSocket, bearer, 426],
    [WIRE_PATHS.webSocket, basic, 426],
    [WIRE_PATHS.webSocket, { ...UPGRADE, ...bearer, 'content-type': 'text/plain' }, 415],
    [WIRE_PATHS.webSocket, { ...UPGRADE, ...bearer, ...basic }, 401],
    [`/${encodeURIComponent(token)}?token=${token.slice(0, 10)}`, bearer, 404],
  ] as const) {
    const answer = await answerOfGateway(world, path, headers)
    t.match(answer, `HTTP/1.1 ${status} `)
    evidence.add('answers of the gateway', answer)
  }

  // A relay that cannot start: no gateway, a token that is none, a wrong option.
  const broken = world.sandbox()
  for (const extra of [
    { CCR_UPSTREAM_PROXY_BASE_URL: 'https://127.0.0.1:1' },
    { UPSTREAMPROXY_PORT: 'http' },
    { CLAUDE_CODE_REMOTE_SESSION_ID: 'a:b' },
    { UPSTREAMPROXY_SYSTEM_CA: '/no/such/file' },
  ]) {
    const failed = await broken.run(['echo', 'ran'], { env: { ...broken.env, ...extra } })
    t.match(failed, { status: 0, out: 'ran\n', err: /ERR_/ }, JSON.stringify(extra))
  }
  for (const token of ['canary with blanks', '', `canary${'y'.repeat(5000)}`]) {
    const failed = await broken.run(['echo', 'ran'], { token })
    t.match(failed, { status: 0, out: 'ran\n', err: /ERR_TOKEN/ })
    t.notMatch(failed.err, /canary( with|y)/)
  }

  for (const { home } of [sandbox, other]) addFiles(evidence, home)
  t.match(evidence.places.join('\n'), 'ca-bundle.crt')
  await world.assertNoLeaks(t)
})

async function answerTo(port: number, bytes: string): Promise<string> {
  const client = await RawClient.connect(port)
  client.socket.write(bytes, 'latin1')
  return (await client.rest()).bytes.toString('latin1')
}

async function answerOfGateway(
  { gatewayUrl, organisation }: World,
  path: string,
  headers: Readonly<Record<string, string>>,
): Promise<string> {
  const ca = readFileSync(organisation.gatewayCaFile)
  const [response] = await once(get(`${gatewayUrl}${path}`, { ca, headers, agent: false }), 'response')
  const { statusCode, rawHeaders } = response as IncomingMessage
  return `HTTP/1.1 ${statusCode} \n${rawHeaders.join('\n')}\n\n${await text(response as IncomingMessage)}`
}

// All that the session has left on disk.
function addFiles(evidence: Evidence, folder: string): void {
  for (const name of readdirSync(folder, { recursive: true }).map(String)) {
    const file = join(folder, name)
    if (statSync(file).isFile()) evidence.add(`the file ${name}`, readFileSync(file))
  }
}
