import 'reflect-metadata'
import { spawnSync } from 'node:child_process'
import { createPrivateKey, generateKeyPairSync, X509Certificate } from 'node:crypto'
import { chmodSync, mkdirSync, readdirSync, readFileSync, statSync, unlinkSync, writeFileSync } from 'node:fs'
import { isIP } from 'node:net'
import { join } from 'node:path'
import {
  BasicConstraintsExtension,
  X509Certificate as Parsed,
  X509CertificateGenerator,
} from '@peculiar/x509'
import t, { type Test } from 'tap'
import { type Ca, openCa } from '#src/ca.js'
import { caSigner, issueLeaf, makeCaKey, selfSign } from '#src/certificates.js'
import { Leaves } from '#src/leaf.js'
import { Secret } from '#src/secret.js'
import { temporaryFolder } from './support/gateway.js'
import { makePki } from './support/pki.js'

const DAY_MS = 24 * 60 * 60 * 1000
const openssl = spawnSync('openssl', ['version']).status === 0

function stateIn(t: Test): string {
  return join(temporaryFolder(t), 'state')
}

function modeOf(file: string): string {
  return (statSync(file).mode & 0o777).toString(8)
}

t.test('a CA is made at the first start, with a key that only its owner can read', async (t) => {
  const state = stateIn(t)
  const ca = await openCa({ ca: undefined, state })
  t.equal(modeOf(state), '700')
  t.equal(modeOf(join(state, 'ca.key')), '600')
  t.strictSame(readdirSync(state).sort(), ['ca.key', 'ca.pem'])
  const certificate = new X509Certificate(ca.certPem)
  t.ok(certificate.ca)
  t.equal(certificate.fingerprint256, ca.fingerprint)
  t.equal(certificate.publicKey.asymmetricKeyDetails?.namedCurve, 'prime256v1')
  t.ok(new Date(certificate.validFrom).getTime() < Date.now() - 60 * 60 * 1000, 'older than its leaves')
  t.equal(ca.chainPem, '', 'a root need not be sent')
})

t.test('the CA that is kept is used again, and one whose certificate is lost keeps its key', async (t) => {
  const state = stateIn(t)
  const first = await openCa({ ca: undefined, state })
  t.equal((await openCa({ ca: undefined, state })).fingerprint, first.fingerprint)
  const key = readFileSync(join(state, 'ca.key'), 'utf8')
  unlinkSync(join(state, 'ca.pem'))
  const again = await openCa({ ca: undefined, state })
  t.not(again.fingerprint, first.fingerprint)
  t.equal(readFileSync(join(state, 'ca.key'), 'utf8'), key)
})

t.test('of gateways that start at once in one folder, all use one CA', async (t) => {
  const state = stateIn(t)
  const all = await Promise.all(Array.from({ length: 8 }, () => openCa({ ca: undefined, state })))
  t.equal(new Set(all.map(({ fingerprint }) => fingerprint)).size, 1)
  t.strictSame(readdirSync(state).sort(), ['ca.key', 'ca.pem'])
})

t.test('a state folder that cannot be trusted is refused', async (t) => {
  const cases: [name: string, spoil: (state: string) => void, message: RegExp][] = [
    [
      'a key that others can read',
      (state) => chmodSync(join(state, 'ca.key'), 0o640),
      /ca\.key has mode 640: others can read the key \(chmod 600 /,
    ],
    [
      'a folder that others can write to',
      (state) => chmodSync(state, 0o777),
      /has mode 777: others can write to the folder/,
    ],
    [
      'a certificate without its key',
      (state) => unlinkSync(join(state, 'ca.key')),
      /is there but its key .* is not/,
    ],
    [
      'a key that is none',
      (state) => writeFileSync(join(state, 'ca.key'), 'CANARY'),
      /the CA in .* cannot be used/,
    ],
    [
      'a certificate that is none',
      (state) => writeFileSync(join(state, 'ca.pem'), 'CANARY'),
      /the CA in .* cannot be used/,
    ],
    [
      'a folder in the way',
      (state) => {
        unlinkSync(join(state, 'ca.pem'))
        mkdirSync(join(state, 'ca.pem'))
      },
      /cannot be read or made: EISDIR/,
    ],
  ]
  for (const [name, spoil, message] of cases) {
    const state = stateIn(t)
    await openCa({ ca: undefined, state })
    spoil(state)
    const error: Error = await openCa({ ca: undefined, state }).then(
      () => t.fail(name) as never,
      (thrown) => thrown,
    )
    t.equal(error.name, 'CaError', name)
    t.match(error.message, message, name)
    t.notMatch(error.message, /CANARY/)
  }
})

t.test(
  'a configured CA may be ECDSA or RSA, and an intermediate is sent along with its leaves',
  async (t) => {
    const root = await makePki()
    const { leaf: _, ...pki } = root
    const configured = await openCa({
      ca: { cert: pki.caPem, key: new Secret(pki.caKeyPem) },
      state: '/none',
    })
    t.equal(configured.chainPem, '')
    for (const keys of [
      generateKeyPairSync('ec', { namedCurve: 'secp384r1' }),
      generateKeyPairSync('rsa', { modulusLength: 2048 }),
    ]) {
      const key = keys.privateKey.export({ type: 'pkcs8', format: 'pem' }) as string
      const certificate = await X509CertificateGenerator.create({
        subject: 'CN=intermediate',
        issuer: root.signer.certificate.subjectName,
        publicKey: await crypto.subtle.importKey(
          'spki',
          keys.publicKey.export({ type: 'spki', format: 'der' }),
          keys.publicKey.asymmetricKeyType === 'rsa'
            ? { name: 'RSASSA-PKCS1-v1_5', hash: 'SHA-256' }
            : { name: 'ECDSA', namedCurve: 'P-384' },
          true,
          ['verify'],
        ),
        signingKey: root.signer.signingKey,
        signingAlgorithm: root.signer.signingAlgorithm,
        extensions: [new BasicConstraintsExtension(true, 0, true)],
      })
      const ca = await openCa({
        ca: { cert: certificate.toString('pem'), key: new Secret(key) },
        state: '/none',
      })
      t.not(ca.chainPem, '')
      const { cert } = await issueLeaf(ca.signer, 'a.test')
      t.ok(new X509Certificate(cert).verify(keys.publicKey), String(keys.publicKey.asymmetricKeyType))
    }
  },
)

t.test('what is no CA cannot sign', async (t) => {
  const pki = await makePki()
  const { cert, key } = await pki.leaf('a.test')
  await t.rejects(caSigner(cert, key), /not one of a CA/)
  await t.rejects(caSigner(pki.caPem, key), /does not belong/)
  await t.rejects(caSigner(pki.caPem, pki.caKeyPem, Date.now() + 6 * 365 * DAY_MS), /expired/)
  await t.rejects(caSigner(pki.caPem, pki.caKeyPem, Date.now() - 6 * 365 * DAY_MS), /not valid yet/)
})

t.test('a leaf is what strict verifiers take', async (t) => {
  const pki = await makePki()
  const folder = temporaryFolder(t)
  writeFileSync(join(folder, 'ca.pem'), pki.caPem)
  const serials = new Set<string>()
  for (const host of ['api.example.com', '192.0.2.1', '2001:db8::1', `${'long-label.'.repeat(8)}test`]) {
    const { cert, key } = await issueLeaf(pki.signer, host)
    const certificate = new X509Certificate(cert)
    t.ok(certificate.verify(new X509Certificate(pki.caPem).publicKey), `${host}: signed by the CA`)
    t.ok(certificate.checkIssued(new X509Certificate(pki.caPem)), 'names its issuer')
    t.ok(certificate.checkPrivateKey(createPrivateKey(key)))
    t.equal(isIP(host) ? certificate.checkIP(host) : certificate.checkHost(host), host)
    t.notOk(certificate.ca)
    t.equal(certificate.publicKey.asymmetricKeyDetails?.namedCurve, 'prime256v1')
    const parsed = new Parsed(cert)
    const extensions = new Map(parsed.extensions.map(({ type, critical }) => [type, critical]))
    t.strictSame(
      [...extensions.keys()].sort(),
      ['2.5.29.14', '2.5.29.15', '2.5.29.17', '2.5.29.19', '2.5.29.35', '2.5.29.37'],
      'SKI, KU, SAN, BC, AKI, EKU',
    )
    t.equal(extensions.get('2.5.29.15'), true, 'key usage is critical')
    t.equal(
      extensions.get('2.5.29.17'),
      certificate.subject === '' || certificate.subject === undefined,
      'SAN is critical where there is no subject',
    )
    t.strictSame(certificate.keyUsage, ['1.3.6.1.5.5.7.3.1'], 'serverAuth alone')
    const [from, to] = [new Date(certificate.validFrom).getTime(), new Date(certificate.validTo).getTime()]
    t.ok(to - from <= 90 * DAY_MS && to > Date.now() + DAY_MS, 'at most 90 days')
    t.ok(from <= Date.now() - 59 * 60 * 1000, 'an hour early')
    t.match(certificate.serialNumber, /^[4-7][0-9A-F]{31}$/, 'positive')
    serials.add(certificate.serialNumber)
    if (!openssl) continue
    writeFileSync(join(folder, 'leaf.pem'), cert)
    const name = isIP(host) ? ['-verify_ip', host] : ['-verify_hostname', host]
    const verified = spawnSync(
      'openssl',
      ['verify', '-x509_strict', '-purpose', 'sslserver', '-CAfile', 'ca.pem', ...name, 'leaf.pem'],
      { cwd: folder, encoding: 'utf8' },
    )
    t.equal(verified.status, 0, verified.stderr)
  }
  t.equal(serials.size, 4)
})

t.test('a leaf does not outlive its CA', async (t) => {
  const key = await makeCaKey()
  const pem = await selfSign(key, Date.now() - 5 * 365 * DAY_MS + DAY_MS)
  const { notAfter } = await issueLeaf(await caSigner(pem, key), 'a.test')
  t.ok(notAfter.getTime() <= new Date(new X509Certificate(pem).validTo).getTime())
})

async function leavesOf(t: Test, max: number): Promise<{ leaves: Leaves; ca: Ca; clock: { now: number } }> {
  const ca = await openCa({ ca: undefined, state: stateIn(t) })
  const clock = { now: Date.now() }
  return { leaves: new Leaves(ca, { max, now: () => clock.now }), ca, clock }
}

t.test('however many ask for a host at once, one leaf is minted; it is kept until it is old', async (t) => {
  const { leaves, clock } = await leavesOf(t, 10)
  const contexts = await Promise.all(Array.from({ length: 20 }, () => leaves.contextFor('a.test')))
  t.equal(new Set(contexts).size, 1)
  clock.now += 15 * DAY_MS
  t.equal(await leaves.contextFor('a.test'), contexts[0])
  clock.now += 6 * DAY_MS
  t.not(await leaves.contextFor('a.test'), contexts[0], 'renewed well before its end')
})

t.test('a flood of names stays under the cap, and what is in use stays', async (t) => {
  const { leaves } = await leavesOf(t, 10)
  const kept = await leaves.contextFor('kept.test')
  for (let i = 0; i < 30; i++) {
    await leaves.contextFor(`${i}.test`)
    t.equal(await leaves.contextFor('kept.test'), kept)
  }
  t.equal(leaves.size, 10)
})

t.test('a leaf that could not be minted is not kept', async (t) => {
  const ca = await openCa({ ca: undefined, state: stateIn(t) })
  const signer = {
    ...ca.signer,
    get signingKey(): never {
      throw new Error('the signer is broken')
    },
  }
  const leaves = new Leaves({ ...ca, signer }, { max: 10 })
  await t.rejects(leaves.contextFor('a.test'), /the signer is broken/)
  t.equal(leaves.size, 0)
})
