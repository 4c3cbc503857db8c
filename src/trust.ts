/**
 * Whom the relay believes to be the gateway.
 *
 * Rule 1: the roots of the system and those of `gatewayCa`, given explicitly: neither NODE_EXTRA_CA_CERTS nor
 *         SSL_CERT_FILE adds to them (invariant 8).
 * Rule 2: the CA that the gateway sends is not among them: it vouches for origins to clients.
 */
import { X509Certificate } from 'node:crypto'
import { createSecureContext, rootCertificates, type SecureContext } from 'node:tls'
import { codeOrText, ProxyError } from './errors.js'
import { readCertificates } from './pem.js'

export interface SystemRoots {
  /** the file they come from; `node` for Node's own */
  readonly source: string
  readonly certificates: readonly X509Certificate[]
}

/**
 * The roots of the system: those of the given file; else of the first usual place that has any; else Node's own, for
 * images that ship none.
 * @throws ProxyError ERR_SYSTEM_CA where a given file has none
 */
export async function systemRoots(systemCa?: string): Promise<SystemRoots> {
  if (systemCa !== undefined)
    return { source: systemCa, certificates: await rootsIn(systemCa, 'ERR_SYSTEM_CA', '--system-ca') }
  for (const path of SYSTEM_CA_FILES) {
    try {
      const { certificates } = await readCertificates(path)
      if (certificates.length > 0) return { source: path, certificates }
    } catch {
      // Not this system's place.
    }
  }
  return { source: 'node', certificates: rootCertificates.map((pem) => new X509Certificate(pem)) }
}

export interface GatewayTrust {
  /** the roots, in PEM: for a thread that needs a context of its own */
  readonly roots: readonly string[]
  /** the one context for TLS to the gateway of this thread: building one costs tens of milliseconds */
  readonly secureContext: SecureContext
}

/**
 * What TLS to the gateway is verified against.
 * @throws ProxyError ERR_GATEWAY_CA
 */
export async function gatewayTrust({
  roots,
  gatewayCa,
}: {
  readonly roots: SystemRoots
  /** file of more roots, for a gateway with a private certificate */
  readonly gatewayCa?: string | undefined
}): Promise<GatewayTrust> {
  const own = gatewayCa === undefined ? [] : await rootsIn(gatewayCa, 'ERR_GATEWAY_CA', '--gateway-ca')
  const ca = [...roots.certificates, ...own].map(String)
  return { roots: ca, secureContext: createSecureContext({ ca }) }
}

async function rootsIn(
  path: string,
  code: 'ERR_SYSTEM_CA' | 'ERR_GATEWAY_CA',
  flag: string,
): Promise<readonly X509Certificate[]> {
  let found: Awaited<ReturnType<typeof readCertificates>>
  try {
    found = await readCertificates(path)
  } catch (cause) {
    throw new ProxyError(code, `cannot read the file of ${flag}, ${path}: ${codeOrText(cause)}`, { cause })
  }
  // A system's bundle may hold what we cannot read; in a file that somebody chose, it is a mistake to be told of.
  const foreign = code === 'ERR_GATEWAY_CA' && found.skipped > 0
  if (foreign || found.certificates.length === 0) {
    const what = foreign ? `${found.skipped} PEM blocks that are no certificates` : 'no certificate'
    throw new ProxyError(code, `the file of ${flag}, ${path}, has ${what}`, {
      hint: 'certificates in PEM are expected, and nothing else',
    })
  }
  return found.certificates
}

const SYSTEM_CA_FILES = [
  '/etc/ssl/certs/ca-certificates.crt', // Debian, Ubuntu, Alpine, Arch
  '/etc/pki/tls/certs/ca-bundle.crt', // Fedora, RHEL
  '/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem', // RHEL, where the link above is missing
  '/etc/ssl/ca-bundle.pem', // SUSE
  '/etc/ssl/cert.pem', // Alpine, macOS, OpenBSD
  '/usr/local/share/certs/ca-root-nss.crt', // FreeBSD
]
