import { spawnSync } from 'node:child_process'
import { X509Certificate } from 'node:crypto'
import { once } from 'node:events'
import {
  chmodSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import type { ServerResponse } from 'node:http'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { basename, dirname, join } from 'node:path'
import { connect, createSecureContext, rootCertificates, type SecureContext } from 'node:tls'
import { inspect } from 'node:util'
import t from 'tap'
import { checkedCa, fetchCa, inheritedRoots, joinedBundle, writeBundle } from '#src/ca-bundle.js'
import { GATEWAY_SECTION, pemBlocks, readCertificates } from '#src/pem.js'
import { gatewayTrust, systemRoots } from '#src/trust.js'
import { caEndpoint } from './support/ca-endpoint.js'
import { type CertificateWithKey, makeCa, makeLeaf } from './support/certificates.js'
import { within } from './support/deadline.js'

const HOUR_MS = 60 * 60 * 1000
const CA = await makeCa({ name: 'gateway ca' })
const OTHER = await makeCa({ name: 'other ca' })
const LEAF = await makeLeaf(CA)
const PATH = '/v1/ca'

const parsed = (...cas: CertificateWithKey[]) => cas.map(({ certPem }) => new X509Certificate(certPem))
const namesIn = (text: string) =>
  pemBlocks(text).map((block) => new X509Certificate(block.text).subject.replace('CN=', ''))

t.test('what the CA endpoint sent', async (t) => {
  t.test('one certificate or several, with text around them, are taken and written anew', async (t) => {
    const text = `Bag Attributes\r\n${CA.certPem.replaceAll('\n', '\r\n')}subject=x\n${OTHER.certPem.trimEnd()}`
    t.same(checkedCa(text).map(String), parsed(CA, OTHER).map(String))
  })

  t.test('nothing but CA certificates in date is taken', async (t) => {
    const past = await makeCa({
      name: 'past',
      notBefore: new Date(0),
      notAfter: new Date(Date.now() - HOUR_MS),
    })
    const future = await makeCa({ name: 'future', notBefore: new Date(Date.now() + HOUR_MS) })
    const cases: [string, string, RegExp][] = [
      ['nothing', '', /got no PEM block/],
      ['a page', '<html>no such page</html>', /got no PEM block/],
      ['a leaf', LEAF.certPem, /block 1 of 1, a certificate that is no CA/],
      ['an expired one', past.certPem, /block 1 of 1, expired on /],
      ['one of the future', future.certPem, /block 1 of 1, valid only from /],
      ['a key', CA.keyPem, /block 1 of 1, which is no readable certificate/],
      ['a good one and a key', CA.certPem + CA.keyPem, /block 2 of 2/],
      ['a good one and a leaf', CA.certPem + LEAF.certPem, /block 2 of 2, a certificate that is no CA/],
      [
        'noise in a block',
        '-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n',
        /no readable certificate/,
      ],
      ['a block without an end', CA.certPem.slice(0, -20), /no readable certificate/],
      ['a beginning after a good one', `${CA.certPem}-----BEGIN CERTIFICATE-----\n`, /block 2 of 2/],
      [
        'a trusted certificate',
        CA.certPem.replaceAll('CERTIFICATE', 'TRUSTED CERTIFICATE'),
        /no readable certificate/,
      ],
    ]
    for (const [what, text, message] of cases)
      t.throws(() => checkedCa(text), { code: 'ERR_CA_INVALID', message }, what)
    const body = CA.keyPem.split('\n')[1] ?? ''
    const told = t.throws(() => checkedCa(CA.keyPem))
    t.notMatch(inspect(told), body, 'nothing of it is told')
  })

  t.test('a megabyte of beginnings without an end takes no time to refuse', async (t) => {
    const started = performance.now()
    t.throws(() => checkedCa('-----BEGIN CERTIFICATE-----\n'.repeat(37_000)), { code: 'ERR_CA_INVALID' })
    t.ok(performance.now() - started < 2_000)
  })
})

t.test('the download', async (t) => {
  const fetched = (url: string, secureContext?: SecureContext, deadlineMs?: number) =>
    fetchCa({ baseUrl: new URL(url), path: PATH, secureContext }, deadlineMs)

  t.test('is one GET below the base URL, without a credential or a body', async (t) => {
    const { url, requests } = await caEndpoint(t, CA.certPem)
    t.equal(await fetched(`${url}/prefix/`), CA.certPem)
    t.equal(requests.length, 1)
    t.match(requests[0], { method: 'GET', url: `/prefix${PATH}` })
    const headers = requests[0]?.headers ?? {}
    t.notOk('authorization' in headers || 'proxy-authorization' in headers || 'cookie' in headers)
  })

  t.test('goes to the gateway itself, whatever proxy the environment names', async (t) => {
    const proxy = await caEndpoint(t, OTHER.certPem)
    const proxyVariables = [
      'HTTP_PROXY',
      'http_proxy',
      'HTTPS_PROXY',
      'https_proxy',
      'ALL_PROXY',
      'NODE_USE_ENV_PROXY',
    ]
    const before = { ...process.env }
    t.teardown(() => {
      for (const name of proxyVariables) delete process.env[name]
      Object.assign(process.env, before)
    })
    for (const name of proxyVariables) process.env[name] = name === 'NODE_USE_ENV_PROXY' ? '1' : proxy.url
    delete process.env['NO_PROXY']
    t.equal(await fetched((await caEndpoint(t, CA.certPem)).url), CA.certPem)
    t.equal(proxy.requests.length, 0)
  })

  t.test('takes status 200 alone, and follows no redirect', async (t) => {
    const target = await caEndpoint(t, CA.certPem)
    for (const status of [301, 302, 307, 308]) {
      const { url } = await caEndpoint(t, (_request, response) => {
        response.writeHead(status, { location: target.url }).end(CA.certPem)
      })
      await t.rejects(fetched(url), {
        code: 'ERR_CA_FETCH',
        message: new RegExp(`got ${status}`),
        hint: /redirect/,
      })
    }
    t.equal(target.requests.length, 0)
    for (const status of [201, 204, 206, 401, 404, 500]) {
      const { url } = await caEndpoint(t, (_request, response) => {
        response.writeHead(status).end(status === 204 ? undefined : CA.certPem)
      })
      await t.rejects(fetched(url), { code: 'ERR_CA_FETCH', message: new RegExp(`got ${status}`) })
    }
    const switching = await caEndpoint(t, (request) => {
      request.socket.end('HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n')
    })
    await t.rejects(within(fetched(switching.url), 'a refusal'), { code: 'ERR_CA_FETCH' })
  })

  t.test('stops at 1 MiB, whether the length is announced or not', async (t) => {
    const announced = await caEndpoint(t, (_request, response) => {
      response.writeHead(200, { 'content-length': 1024 * 1024 + 1 }).write('x')
    })
    await t.rejects(fetched(announced.url), { code: 'ERR_CA_TOO_LARGE' })

    let sent = 0
    const endless = await caEndpoint(t, (_request, response) => {
      const more = () => {
        while (!response.destroyed && response.write('x'.repeat(64 * 1024))) sent += 64 * 1024
      }
      response.on('drain', more)
      more()
    })
    await t.rejects(within(fetched(endless.url), 'a refusal'), { code: 'ERR_CA_TOO_LARGE' })
    t.ok(sent < 64 * 1024 * 1024, 'what was not wanted is not read')

    const exact = await caEndpoint(t, 'x'.repeat(1024 * 1024))
    t.equal((await fetched(exact.url)).length, 1024 * 1024)
  })

  t.test('has one deadline for all of it', async (t) => {
    const silent = await caEndpoint(t, () => undefined)
    const timers: NodeJS.Timeout[] = []
    t.teardown(() => timers.forEach(clearInterval))
    const dripping = await caEndpoint(t, (_request, response: ServerResponse) => {
      timers.push(setInterval(() => response.write('x'), 10))
    })
    const deaf = createServer().listen(0, '127.0.0.1')
    await once(deaf, 'listening')
    t.teardown(() => deaf.close())
    deaf.on('connection', (socket) => t.teardown(() => socket.destroy()))
    const { port } = deaf.address() as { port: number }
    for (const url of [silent.url, dripping.url, `https://127.0.0.1:${port}`]) {
      const attempt = fetched(url, createSecureContext(), 200)
      await t.rejects(within(attempt, 'the deadline', 5_000), {
        code: 'ERR_CA_FETCH',
        message: /nothing complete within 200 ms/,
      })
    }
  })

  t.test('says what is wrong with the connection', async (t) => {
    const server = createServer().listen(0, '127.0.0.1')
    await once(server, 'listening')
    const { port } = server.address() as { port: number }
    await new Promise((resolve) => server.close(resolve))
    for (const host of ['127.0.0.1', 'localhost'])
      await t.rejects(fetched(`http://${host}:${port}`), { code: 'ERR_CA_FETCH', message: /ECONNREFUSED/ })
    const torn = await caEndpoint(t, (_request, response) => {
      response.writeHead(200, { 'content-length': 100 })
      response.write('x', () => response.destroy())
    })
    await t.rejects(within(fetched(torn.url), 'a refusal'), { code: 'ERR_CA_FETCH' })
  })

  t.test('invariant 8: the gateway is verified, whatever NODE_TLS_REJECT_UNAUTHORIZED says', async (t) => {
    const before = process.env['NODE_TLS_REJECT_UNAUTHORIZED']
    t.teardown(() => {
      if (before === undefined) delete process.env['NODE_TLS_REJECT_UNAUTHORIZED']
      else process.env['NODE_TLS_REJECT_UNAUTHORIZED'] = before
    })
    process.env['NODE_TLS_REJECT_UNAUTHORIZED'] = '0'
    const folder = t.testdir({ 'ca.pem': CA.certPem, 'other.pem': OTHER.certPem })
    const roots = { source: '', certificates: [] }
    const trust = async (gatewayCa: string) =>
      (await gatewayTrust({ roots, gatewayCa: join(folder, gatewayCa) })).secureContext
    const { url, requests } = await caEndpoint(t, CA.certPem, LEAF)
    t.equal(await fetched(url, await trust('ca.pem')), CA.certPem)
    await t.rejects(fetched(url, await trust('other.pem')), { code: 'ERR_CA_FETCH', hint: /--gateway-ca/ })

    const elsewhere = await caEndpoint(t, CA.certPem, await makeLeaf(CA, { dns: ['elsewhere.test'] }))
    await t.rejects(fetched(elsewhere.url, await trust('ca.pem')), {
      code: 'ERR_CA_FETCH',
      message: /localhost/,
    })
    const expired = await makeLeaf(CA, { dns: ['localhost'], notAfter: new Date(Date.now() - HOUR_MS / 2) })
    const late = await caEndpoint(t, CA.certPem, expired)
    await t.rejects(fetched(late.url, await trust('ca.pem')), { code: 'ERR_CA_FETCH', message: /expired/ })
    t.same([requests.length, elsewhere.requests.length, late.requests.length], [1, 0, 0])
  })
})

t.test('trust in the gateway', async (t) => {
  const folder = t.testdir({
    'ca.pem': CA.certPem,
    'with-key.pem': CA.certPem + CA.keyPem,
    'empty.pem': '',
    'bundle.crt': joinedBundle(parsed(OTHER), parsed(CA)),
    folder: {},
  })
  const roots = { source: '', certificates: parsed(OTHER) }

  t.test("comes from the system's roots: a file's, a usual place's, else Node's own", async (t) => {
    t.same((await systemRoots(join(folder, 'ca.pem'))).certificates.map(String), parsed(CA).map(String))
    const found = await systemRoots()
    t.ok(found.certificates.length > 50, `${found.certificates.length} from ${found.source}`)
    t.ok(
      found.source === 'node'
        ? found.certificates.length === rootCertificates.length
        : existsSync(found.source),
    )
  })

  const hide =
    'for d in /etc/ssl /etc/pki /usr/local/share/certs; do [ ! -d $d ] || mount -t tmpfs none $d; done'
  const canHide = spawnSync('unshare', ['-rm', 'sh', '-c', hide]).status === 0
  const SLIM = canHide ? {} : { skip: 'needs a mount namespace of its own' }
  t.test('come from Node, where the image ships none', SLIM, async (t) => {
    const program = `
      import { systemRoots } from ${JSON.stringify(new URL('../dist/trust.js', import.meta.url).href)}
      const { source, certificates } = await systemRoots()
      process.stdout.write(source + ' ' + certificates.length)`
    const words = [
      '-rm',
      'sh',
      '-c',
      `${hide}; exec "$@"`,
      'sh',
      process.execPath,
      '--input-type=module',
      '-e',
      program,
    ]
    const { stdout } = spawnSync('unshare', words, { encoding: 'utf8', env: { PATH: process.env['PATH'] } })
    t.equal(stdout, `node ${rootCertificates.length}`)
  })

  t.test('a file that was given and cannot be used is an error', async (t) => {
    for (const name of ['not-there', 'empty.pem', 'folder']) {
      await t.rejects(systemRoots(join(folder, name)), { code: 'ERR_SYSTEM_CA' }, name)
      await t.rejects(
        gatewayTrust({ roots, gatewayCa: join(folder, name) }),
        { code: 'ERR_GATEWAY_CA' },
        name,
      )
    }
    await t.rejects(gatewayTrust({ roots, gatewayCa: join(folder, 'with-key.pem') }), {
      code: 'ERR_GATEWAY_CA',
    })
  })

  t.test('invariant 8: a CA that a gateway sent never comes to vouch for a gateway', async (t) => {
    const { certificates } = await systemRoots(join(folder, 'bundle.crt'))
    t.same(
      certificates.map(String),
      parsed(OTHER).map(String),
      'a bundle of ours ends where its section begins',
    )
    const server = await caEndpoint(t, CA.certPem, LEAF)
    const { secureContext } = await gatewayTrust({ roots: await systemRoots(join(folder, 'bundle.crt')) })
    const fetched = fetchCa({ baseUrl: new URL(server.url), path: PATH, secureContext })
    await t.rejects(fetched, { code: 'ERR_CA_FETCH' })
  })
})

t.test('the joined bundle', async (t) => {
  t.test("has the roots first, the gateway's CA last, and each certificate once", async (t) => {
    const third = await makeCa({ name: 'third' })
    const text = joinedBundle(parsed(OTHER, third, OTHER), parsed(CA, third, CA))
    t.same(namesIn(text), ['other ca', 'third', 'gateway ca'])
    t.equal(joinedBundle(parsed(OTHER, third), parsed(CA)), text, 'the same certificates, the same text')
    t.match(text, /^[\n\x20-\x7e]*$/)
  })

  t.test('is read whole by OpenSSL: a leaf of the gateway and one of the system both verify', async (t) => {
    const secureContext = createSecureContext({ ca: joinedBundle(parsed(OTHER), parsed(CA)) })
    for (const ca of [CA, OTHER]) {
      const { url } = await caEndpoint(t, 'x', await makeLeaf(ca))
      const port = Number(new URL(url).port)
      const socket = connect({ host: '127.0.0.1', port, servername: 'localhost', secureContext })
      t.teardown(() => socket.destroy())
      await within(once(socket, 'secureConnect'), 'the handshake')
      t.ok(socket.authorized)
    }
  })

  t.test(
    'takes the roots of inherited files, each file once; what cannot be read is told and left out',
    async (t) => {
      const folder = t.testdir({
        'corp.pem': `# ours\n${OTHER.certPem}-----BEGIN CERTIFICATE-----\nAAAA\n`,
        folder: {},
      })
      const paths = ['corp.pem', 'corp.pem', 'not-there', 'folder'].map((name) => join(folder, name))
      const told: string[] = []
      const roots = await inheritedRoots(
        paths.map((path, index) => ({ variable: `V${index}`, path })),
        ({ variable, path }, reason) => told.push(`${variable} ${basename(path)} ${reason}`),
      )
      t.same(roots.map(String), parsed(OTHER).map(String))
      t.same(told, ['V2 not-there ENOENT', 'V3 folder Error: not a regular file'])
    },
  )

  t.test("leaves an earlier session's gateway CA behind, and keeps the roots that it had", async (t) => {
    const path = join(
      t.testdir({ 'ca-bundle.crt': joinedBundle(parsed(OTHER), parsed(CA)) }),
      'ca-bundle.crt',
    )
    t.match(readFileSync(path, 'utf8'), GATEWAY_SECTION)
    t.same((await readCertificates(path)).certificates.map(String), parsed(OTHER).map(String))
  })
})

t.test('the file', async (t) => {
  t.test('is made with its folders, for everyone to read, whatever the umask is', async (t) => {
    const before = process.umask(0o077)
    t.teardown(() => process.umask(before))
    const path = join(t.testdir(), 'a/b/ca-bundle.crt')
    const written = await writeBundle('one', path)
    t.match(written, { path, detour: undefined })
    t.equal(readFileSync(path, 'utf8'), 'one')
    t.equal(statSync(path).mode & 0o777, 0o644)
    for (const folder of [dirname(path), dirname(dirname(path))])
      t.equal(statSync(folder).mode & 0o777, 0o755)
    t.same(readdirSync(dirname(path)), ['ca-bundle.crt'], 'nothing else is left')
    await written.remove()
    t.ok(existsSync(path), 'others may use it')
  })

  t.test('with the same content is used again, and made readable', async (t) => {
    const path = join(t.testdir({ 'ca-bundle.crt': 'one' }), 'ca-bundle.crt')
    chmodSync(path, 0o600)
    const { ino, mtimeMs } = statSync(path)
    t.equal((await writeBundle('one', path)).path, path)
    t.match(statSync(path), { ino, mtimeMs })
    t.equal(statSync(path).mode & 0o777, 0o644)
  })

  t.test('of another content is never touched: the new one goes beside it, by its content', async (t) => {
    const folder = t.testdir({ 'ca-bundle.crt': 'one' })
    const path = join(folder, 'ca-bundle.crt')
    const { ino, mtimeMs } = statSync(path)
    const second = await writeBundle('two', path)
    t.match(basename(second.path), /^ca-bundle-[0-9a-f]{12}\.crt$/)
    t.equal(dirname(second.path), folder)
    t.equal(readFileSync(second.path, 'utf8'), 'two')
    t.equal((await writeBundle('two', path)).path, second.path)
    t.not((await writeBundle('three', path)).path, second.path)
    t.match(statSync(path), { ino, mtimeMs })
    t.equal(readFileSync(path, 'utf8'), 'one')
    writeFileSync(second.path, 'tw')
    t.equal((await writeBundle('two', path)).path, second.path)
    t.equal(readFileSync(second.path, 'utf8'), 'two', 'a torn one is healed')
  })

  t.test('goes beside a link that leads nowhere, and beside a folder in its place', async (t) => {
    const folder = t.testdir({ 'folder.crt': { precious: 'x' } })
    symlinkSync('nowhere', join(folder, 'link.crt'))
    for (const name of ['link', 'folder']) {
      const { path } = await writeBundle('one', join(folder, `${name}.crt`))
      t.match(basename(path), new RegExp(`^${name}-[0-9a-f]{12}\\.crt$`))
      t.equal(readFileSync(path, 'utf8'), 'one')
    }
  })

  t.test('of many sessions at once is whole for each of them', async (t) => {
    const path = join(t.testdir(), 'made/ca-bundle.crt')
    const texts = Array.from({ length: 40 }, (_, index) => String(index % 4).repeat(100_000))
    const written = await Promise.all(texts.map((text) => writeBundle(text, path)))
    written.forEach((bundle, index) => {
      t.equal(bundle.detour, undefined)
      t.ok(readFileSync(bundle.path, 'utf8') === texts[index])
    })
    t.equal(readdirSync(dirname(path)).length, 4)
  })

  t.test('goes to a temporary folder that others can read, where its own cannot be written', async (t) => {
    const before = process.umask(0o077)
    t.teardown(() => process.umask(before))
    const blocked = join(t.testdir({ file: '' }), 'file/ca-bundle.crt')
    for (const wanted of [blocked, undefined]) {
      const written = await writeBundle('one', wanted)
      t.teardown(() => written.remove())
      t.ok(written.path.startsWith(join(tmpdir(), 'upstreamproxy-')))
      t.match(written.detour, wanted === undefined ? /no home/ : /EEXIST|ENOTDIR/)
      t.equal(readFileSync(written.path, 'utf8'), 'one')
      t.equal(statSync(written.path).mode & 0o777, 0o644)
      t.equal(statSync(dirname(written.path)).mode & 0o777, 0o755)
      await written.remove()
      t.notOk(existsSync(dirname(written.path)))
    }
  })

  t.test('that can be written nowhere is ERR_CA_WRITE', async (t) => {
    const folder = t.testdir({ file: '' })
    const before = process.env['TMPDIR']
    t.teardown(() => {
      if (before === undefined) delete process.env['TMPDIR']
      else process.env['TMPDIR'] = before
    })
    process.env['TMPDIR'] = join(folder, 'file')
    await t.rejects(writeBundle('one', join(folder, 'file/x.crt')), {
      code: 'ERR_CA_WRITE',
      hint: /--ca-bundle/,
    })
    mkdirSync(join(folder, 'later'))
    t.same(readdirSync(folder).sort(), ['file', 'later'])
  })
})
