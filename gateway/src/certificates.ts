/**
 * X.509 as strict verifiers take it (RFC 5280; Python 3.13's, Go's, Java's, OpenSSL's -x509_strict).
 *
 * Rule 1: a CA has basicConstraints CA:TRUE, keyUsage keyCertSign, and a subject key identifier; a leaf has SAN, key
 *         usage, serverAuth, and both key identifiers.
 * Rule 2: serial numbers are random, positive, under 20 bytes.
 * Rule 3: a leaf's life lies inside its CA's, starts an hour early for clocks that are behind, and is under 90 days.
 */
// The library's container asks for it at import.
import 'reflect-metadata'
import {
  createPrivateKey,
  type KeyObject,
  X509Certificate as NodeCertificate,
  randomBytes,
  webcrypto,
} from 'node:crypto'
import { isIP } from 'node:net'
import {
  AuthorityKeyIdentifierExtension,
  BasicConstraintsExtension,
  ExtendedKeyUsage,
  ExtendedKeyUsageExtension,
  KeyUsageFlags,
  KeyUsagesExtension,
  SubjectAlternativeNameExtension,
  SubjectKeyIdentifierExtension,
  X509Certificate,
  X509CertificateGenerator,
} from '@peculiar/x509'

/** A certificate that signs others. */
export interface CaSigner {
  readonly certificate: X509Certificate
  readonly signingKey: webcrypto.CryptoKey
  readonly signingAlgorithm: SigningAlgorithm
  readonly notAfter: Date
}

export interface SigningAlgorithm {
  readonly name: 'ECDSA' | 'RSASSA-PKCS1-v1_5'
  readonly hash: 'SHA-256' | 'SHA-384' | 'SHA-512'
}

export interface IssuedLeaf {
  /** PEM */
  readonly cert: string
  /** PEM, PKCS #8 */
  readonly key: string
  readonly notAfter: Date
}

/** A private key for a new CA, ECDSA P-256: PEM, PKCS #8. */
export async function makeCaKey(): Promise<string> {
  const { privateKey } = await makeKeys()
  return privatePem(privateKey)
}

/** A self-signed CA certificate for a key that `makeCaKey` made: PEM. */
export async function selfSign(keyPem: string, now = Date.now()): Promise<string> {
  const { privateKey, publicKey } = await importP256(keyPem)
  const certificate = await X509CertificateGenerator.createSelfSigned({
    serialNumber: makeSerial(),
    name: [{ CN: [`upstreamproxy gateway CA ${randomBytes(4).toString('hex')}`] }],
    notBefore: new Date(now - DAY_MS),
    notAfter: new Date(now + CA_LIFE_MS),
    keys: { privateKey, publicKey },
    signingAlgorithm: { name: 'ECDSA', hash: 'SHA-256' },
    extensions: [
      new BasicConstraintsExtension(true, 0, true),
      new KeyUsagesExtension(KeyUsageFlags.keyCertSign | KeyUsageFlags.cRLSign, true),
      await SubjectKeyIdentifierExtension.create(publicKey),
      await AuthorityKeyIdentifierExtension.create(publicKey),
    ],
  })
  return pem(certificate)
}

/** What signs with a CA's certificate and key. Throws an Error that says what is wrong with them. */
export async function caSigner(certPem: string, keyPem: string, now = Date.now()): Promise<CaSigner> {
  const parsed = new NodeCertificate(certPem)
  const key = createPrivateKey(keyPem)
  if (!parsed.ca) throw new Error('the certificate is not one of a CA (basicConstraints CA:TRUE)')
  if (!parsed.checkPrivateKey(key)) throw new Error('the key does not belong to the certificate')
  const certificate = new X509Certificate(parsed.raw)
  const usage = certificate.getExtension(KeyUsagesExtension)
  if (usage && (usage.usages & KeyUsageFlags.keyCertSign) === 0) {
    throw new Error('the certificate may not sign others (keyUsage has no keyCertSign)')
  }
  const { notBefore, notAfter } = certificate
  if (notBefore.getTime() > now) throw new Error('the certificate is not valid yet')
  if (notAfter.getTime() <= now) throw new Error('the certificate has expired')
  return { certificate, notAfter, ...(await signingKey(key)) }
}

/** A leaf for one canonical host, a DNS name or an address, with a key of its own. */
export async function issueLeaf(ca: CaSigner, host: string, now = Date.now()): Promise<IssuedLeaf> {
  const keys = await makeKeys()
  const notAfter = new Date(Math.min(now + LEAF_LIFE_MS, ca.notAfter.getTime()))
  const notBefore = new Date(Math.max(now - HOUR_MS, ca.certificate.notBefore.getTime()))
  // A common name has 64 characters at most (RFC 5280, ub-common-name); without a subject, SAN is critical.
  const named = host.length <= 64
  const certificate = await X509CertificateGenerator.create({
    serialNumber: makeSerial(),
    ...(named && { subject: [{ CN: [host] }] }),
    issuer: ca.certificate.subjectName,
    notBefore,
    notAfter,
    publicKey: keys.publicKey,
    signingKey: ca.signingKey,
    signingAlgorithm: ca.signingAlgorithm,
    extensions: [
      new BasicConstraintsExtension(false, undefined, true),
      new KeyUsagesExtension(KeyUsageFlags.digitalSignature, true),
      new ExtendedKeyUsageExtension([ExtendedKeyUsage.serverAuth]),
      new SubjectAlternativeNameExtension([{ type: isIP(host) ? 'ip' : 'dns', value: host }], !named),
      await SubjectKeyIdentifierExtension.create(keys.publicKey),
      await authorityKeyOf(ca.certificate),
    ],
  })
  return { cert: pem(certificate), key: await privatePem(keys.privateKey), notAfter }
}

// The issuer's own identifier, as it stands there: computed anew it may differ from what another tool chose.
function authorityKeyOf(
  ca: X509Certificate,
): Promise<AuthorityKeyIdentifierExtension> | AuthorityKeyIdentifierExtension {
  const own = ca.getExtension(SubjectKeyIdentifierExtension)
  if (own) return new AuthorityKeyIdentifierExtension(own.keyId)
  return AuthorityKeyIdentifierExtension.create(ca.publicKey)
}

function makeKeys(): Promise<webcrypto.CryptoKeyPair> {
  return webcrypto.subtle.generateKey(P256, true, ['sign', 'verify'])
}

async function importP256(keyPem: string): Promise<webcrypto.CryptoKeyPair> {
  const der = createPrivateKey(keyPem).export({ type: 'pkcs8', format: 'der' })
  const privateKey = await webcrypto.subtle.importKey('pkcs8', der, P256, true, ['sign'])
  const { kty, crv, x, y } = await webcrypto.subtle.exportKey('jwk', privateKey)
  const publicJwk = { kty, crv, x, y } as webcrypto.JsonWebKey
  const publicKey = await webcrypto.subtle.importKey('jwk', publicJwk, P256, true, ['verify'])
  return { privateKey, publicKey }
}

async function signingKey(key: KeyObject): Promise<Pick<CaSigner, 'signingKey' | 'signingAlgorithm'>> {
  const der = key.export({ type: 'pkcs8', format: 'der' })
  if (key.asymmetricKeyType === 'ec') {
    const curve = CURVES.get(key.asymmetricKeyDetails?.namedCurve ?? '')
    if (!curve) throw new Error('the key is on a curve other than P-256, P-384 and P-521')
    const algorithm = { name: 'ECDSA', namedCurve: curve.name }
    return {
      signingKey: await webcrypto.subtle.importKey('pkcs8', der, algorithm, false, ['sign']),
      signingAlgorithm: { name: 'ECDSA', hash: curve.hash },
    }
  }
  if (key.asymmetricKeyType !== 'rsa') throw new Error('the key is neither ECDSA nor RSA')
  const signingAlgorithm = { name: 'RSASSA-PKCS1-v1_5', hash: 'SHA-256' } as const
  return {
    signingKey: await webcrypto.subtle.importKey('pkcs8', der, signingAlgorithm, false, ['sign']),
    signingAlgorithm,
  }
}

async function privatePem(key: webcrypto.CryptoKey): Promise<string> {
  const der = Buffer.from(await webcrypto.subtle.exportKey('pkcs8', key))
  return createPrivateKey({ key: der, format: 'der', type: 'pkcs8' }).export({
    type: 'pkcs8',
    format: 'pem',
  }) as string
}

function pem(certificate: X509Certificate): string {
  return `${certificate.toString('pem').trim()}\n`
}

// 16 bytes, the first from 0x40 to 0x7f: positive in DER, and never zero.
function makeSerial(): string {
  const bytes = randomBytes(16)
  bytes[0] = (bytes[0]! & 0x3f) | 0x40
  return bytes.toString('hex')
}

const P256 = { name: 'ECDSA', namedCurve: 'P-256' }
const CURVES = new Map([
  ['prime256v1', { name: 'P-256', hash: 'SHA-256' as const }],
  ['secp384r1', { name: 'P-384', hash: 'SHA-384' as const }],
  ['secp521r1', { name: 'P-521', hash: 'SHA-512' as const }],
])
const HOUR_MS = 60 * 60 * 1000
const DAY_MS = 24 * HOUR_MS
const LEAF_LIFE_MS = 30 * DAY_MS
const CA_LIFE_MS = 5 * 365 * DAY_MS
