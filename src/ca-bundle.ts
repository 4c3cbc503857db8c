/** The CA bundle for clients: the gateway's CA checked, and joined to the roots that are trusted already. */
import type { X509Certificate } from 'node:crypto'
import { codeOf, ProxyError } from './errors.js'
import { certificateOf, GATEWAY_SECTION, pemBlocks, readCertificates } from './pem.js'

export { type CaSource, fetchCa } from './ca-bundle/fetch.js'
export { type WrittenBundle, writeBundle } from './ca-bundle/write.js'

/**
 * The certificates in what the CA endpoint sent: at least one, nothing but certificates, each a CA and in date.
 * @throws ProxyError ERR_CA_INVALID
 */
export function checkedCa(text: string, now = Date.now()): readonly X509Certificate[] {
  const blocks = pemBlocks(text)
  if (blocks.length === 0) throw invalid('no PEM block')
  return blocks.map((block, index) => {
    const which = `block ${index + 1} of ${blocks.length}`
    const certificate = certificateOf(block)
    if (certificate === undefined) throw invalid(`${which}, which is no readable certificate`)
    if (!certificate.ca) throw invalid(`${which}, a certificate that is no CA`)
    if (Date.parse(certificate.validTo) < now) throw invalid(`${which}, expired on ${certificate.validTo}`)
    if (Date.parse(certificate.validFrom) > now) {
      throw invalid(`${which}, valid only from ${certificate.validFrom}`, "is this machine's clock right?")
    }
    return certificate
  })
}

export interface InheritedFile {
  readonly variable: string
  readonly path: string
}

/** The roots of inherited bundles; a file that cannot be read is reported to `onUnreadable` and left out. */
export async function inheritedRoots(
  files: readonly InheritedFile[],
  onUnreadable: (file: InheritedFile, reason: string) => void,
): Promise<readonly X509Certificate[]> {
  const roots: X509Certificate[] = []
  const seen = new Set<string>()
  for (const file of files) {
    if (seen.has(file.path)) continue
    seen.add(file.path)
    try {
      roots.push(...(await readCertificates(file.path)).certificates)
    } catch (error) {
      onUnreadable(file, codeOf(error) ?? String(error))
    }
  }
  return roots
}

/**
 * The bundle's text. The same certificates give the same text; each is there once; the gateway's come last, below a
 * line that keeps them from being taken for roots of the system by a later session.
 */
export function joinedBundle(roots: readonly X509Certificate[], gateway: readonly X509Certificate[]): string {
  const seen = new Set<string>()
  const pem = (certificates: readonly X509Certificate[]) =>
    certificates
      .filter(({ fingerprint256 }) => !seen.has(fingerprint256) && seen.add(fingerprint256))
      .map((certificate) => `${certificate.toString().trim()}\n`)
      .join('')
  return `${ROOTS_SECTION}\n${pem(roots)}${GATEWAY_SECTION}\n${pem(gateway)}`
}

function invalid(what: string, hint?: string): ProxyError {
  const message = `expected CA certificates in PEM from the CA endpoint, got ${what}`
  return new ProxyError('ERR_CA_INVALID', message, hint === undefined ? {} : { hint })
}

const ROOTS_SECTION = '# upstreamproxy: the roots of the system, and what the environment added to them'
