/** A CA of the test's own, for origins and listeners, made with the gateway's certificate code. */
import 'reflect-metadata'
import { KeyObject, webcrypto } from 'node:crypto'
import { SubjectAlternativeNameExtension, X509CertificateGenerator } from '@peculiar/x509'
import { type CaSigner, caSigner, issueLeaf, makeCaKey, selfSign } from '#src/certificates.js'

export interface TestPki {
  readonly caPem: string
  readonly caKeyPem: string
  readonly signer: CaSigner
  /** a server's certificate and key, PEM, as if issued at a time (default: now) */
  leaf(host: string, issuedAt?: number): Promise<{ cert: string; key: string }>
}

/** A CA as if made at a time (default: three months ago). */
export async function makePki(madeAt = Date.now() - 90 * 24 * 60 * 60 * 1000): Promise<TestPki> {
  const caKeyPem = await makeCaKey()
  const caPem = await selfSign(caKeyPem, madeAt)
  const signer = await caSigner(caPem, caKeyPem)
  return { caPem, caKeyPem, signer, leaf: (host, issuedAt) => issueLeaf(signer, host, issuedAt) }
}

/** A server's certificate that vouches for itself. */
export async function selfSigned(host: string): Promise<{ cert: string; key: string }> {
  const algorithm = { name: 'ECDSA', namedCurve: 'P-256', hash: 'SHA-256' }
  const keys = await webcrypto.subtle.generateKey(algorithm, true, ['sign', 'verify'])
  const certificate = await X509CertificateGenerator.createSelfSigned({
    name: `CN=${host}`,
    notBefore: new Date(Date.now() - 60_000),
    notAfter: new Date(Date.now() + 60_000_000),
    keys,
    signingAlgorithm: algorithm,
    extensions: [new SubjectAlternativeNameExtension([{ type: 'dns', value: host }])],
  })
  const key = KeyObject.from(keys.privateKey).export({ type: 'pkcs8', format: 'pem' }) as string
  return { cert: certificate.toString('pem'), key }
}
