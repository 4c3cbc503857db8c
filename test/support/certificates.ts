/** Certificates for tests, made on the spot: ECDSA P-256, with the extensions that strict verifiers ask for. */
import 'reflect-metadata'
import { randomBytes, webcrypto } from 'node:crypto'
import {
  AuthorityKeyIdentifierExtension,
  BasicConstraintsExtension,
  ExtendedKeyUsage,
  ExtendedKeyUsageExtension,
  type Extension,
  KeyUsageFlags,
  KeyUsagesExtension,
  SubjectAlternativeNameExtension,
  SubjectKeyIdentifierExtension,
  X509CertificateGenerator,
} from '@peculiar/x509'

export interface CertificateWithKey {
  /** the certificate, one PEM block with a newline at its end */
  readonly certPem: string
  /** its private key, PKCS #8, PEM */
  readonly keyPem: string
}

export interface TestCa extends CertificateWithKey {
  /** distinguished name, `CN=…` */
  readonly subject: string
  readonly keys: webcrypto.CryptoKeyPair
}

export interface CaOptions {
  /** common name */
  readonly name: string
  /** default: an hour ago */
  readonly notBefore?: Date
  /** default: in a day */
  readonly notAfter?: Date
}

export interface LeafOptions {
  /** DNS names; the first is the common name too */
  readonly dns?: readonly string[]
  /** IP addresses */
  readonly ip?: readonly string[]
  /** default: an hour ago */
  readonly notBefore?: Date
  /** default: in a day */
  readonly notAfter?: Date
}

/** A self-signed CA (CA:TRUE, may sign certificates). */
export async function makeCa({ name, notBefore, notAfter }: CaOptions): Promise<TestCa> {
  const keys = await makeKeys()
  const subject = `CN=${name}`
  const certificate = await X509CertificateGenerator.createSelfSigned({
    ...lifetime(notBefore, notAfter),
    serialNumber: makeSerial(),
    name: subject,
    keys,
    signingAlgorithm: SIGNING,
    extensions: [
      new BasicConstraintsExtension(true, undefined, true),
      new KeyUsagesExtension(KeyUsageFlags.keyCertSign | KeyUsageFlags.cRLSign, true),
      await SubjectKeyIdentifierExtension.create(keys.publicKey),
    ],
  })
  return { certPem: asPem(certificate), keyPem: await exportKey(keys), subject, keys }
}

/** A server's certificate under `ca` (CA:FALSE). Without names it is for `localhost`, 127.0.0.1 and ::1. */
export async function makeLeaf(ca: TestCa, options: LeafOptions = {}): Promise<CertificateWithKey> {
  const { dns, ip } = options.dns || options.ip ? options : { dns: ['localhost'], ip: ['127.0.0.1', '::1'] }
  const names = [
    ...(dns ?? []).map((value) => ({ type: 'dns' as const, value })),
    ...(ip ?? []).map((value) => ({ type: 'ip' as const, value })),
  ]
  const keys = await makeKeys()
  const extensions: Extension[] = [
    new BasicConstraintsExtension(false, undefined, true),
    new KeyUsagesExtension(KeyUsageFlags.digitalSignature, true),
    new ExtendedKeyUsageExtension([ExtendedKeyUsage.serverAuth]),
    new SubjectAlternativeNameExtension(names),
    await SubjectKeyIdentifierExtension.create(keys.publicKey),
    await AuthorityKeyIdentifierExtension.create(ca.keys.publicKey),
  ]
  const certificate = await X509CertificateGenerator.create({
    ...lifetime(options.notBefore, options.notAfter),
    serialNumber: makeSerial(),
    subject: `CN=${names[0]?.value}`,
    issuer: ca.subject,
    publicKey: keys.publicKey,
    signingKey: ca.keys.privateKey,
    signingAlgorithm: SIGNING,
    extensions,
  })
  return { certPem: asPem(certificate), keyPem: await exportKey(keys) }
}

const CURVE = { name: 'ECDSA', namedCurve: 'P-256' }
const SIGNING = { name: 'ECDSA', hash: 'SHA-256' }
const HOUR_MS = 60 * 60 * 1000

function makeKeys(): Promise<webcrypto.CryptoKeyPair> {
  return webcrypto.subtle.generateKey(CURVE, true, ['sign', 'verify'])
}

async function exportKey(keys: webcrypto.CryptoKeyPair): Promise<string> {
  const der = Buffer.from(await webcrypto.subtle.exportKey('pkcs8', keys.privateKey)).toString('base64')
  return `-----BEGIN PRIVATE KEY-----\n${der.replace(/.{1,64}/g, '$&\n')}-----END PRIVATE KEY-----\n`
}

// Positive in DER: the first byte is under 0x80, and not zero.
function makeSerial(): string {
  return `4${randomBytes(16).toString('hex').slice(1)}`
}

function lifetime(notBefore?: Date, notAfter?: Date) {
  return {
    notBefore: notBefore ?? new Date(Date.now() - HOUR_MS),
    notAfter: notAfter ?? new Date(Date.now() + 24 * HOUR_MS),
  }
}

function asPem(certificate: { toString(format: 'pem'): string }): string {
  return `${certificate.toString('pem').trim()}\n`
}
