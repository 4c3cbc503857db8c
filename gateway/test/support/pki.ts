/** A CA of the test's own, for origins and listeners, made with the gateway's certificate code. */
import { type CaSigner, caSigner, issueLeaf, makeCaKey, selfSign } from '#src/certificates.js'

export interface TestPki {
  readonly caPem: string
  readonly caKeyPem: string
  readonly signer: CaSigner
  /** a server's certificate and key, PEM */
  leaf(host: string, now?: number): Promise<{ cert: string; key: string }>
}

export async function makePki(): Promise<TestPki> {
  const caKeyPem = await makeCaKey()
  const caPem = await selfSign(caKeyPem)
  const signer = await caSigner(caPem, caKeyPem)
  return { caPem, caKeyPem, signer, leaf: (host, now) => issueLeaf(signer, host, now) }
}
