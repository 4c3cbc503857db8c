/**
 * The CA whose leaves clients see: loaded from the configuration, or made at the first start and kept.
 *
 * Rule 1: the private key is never readable by others: its file is made with mode 0600 in a folder made with 0700, and
 *         one that others can read or replace is refused, not repaired: it may be known already.
 * Rule 2: a key is never overwritten. It appears whole or not at all, and of two gateways that start at once, one makes
 *         it and both use it. The certificate follows from the key: lost alone, it is made anew.
 */
import { X509Certificate } from 'node:crypto'
import { linkSync, mkdirSync, readFileSync, statSync, unlinkSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { type CaSigner, caSigner, makeCaKey, selfSign } from './certificates.js'
import type { Config } from './config.js'
import { errorText } from './log.js'

export interface Ca {
  readonly signer: CaSigner
  /** PEM: the certificate, and what the configured file has after it */
  readonly certPem: string
  /** PEM of what a server sends after its leaf; empty where the CA is a root */
  readonly chainPem: string
  /** SHA-256 over the DER, as `openssl x509 -fingerprint -sha256` prints it */
  readonly fingerprint: string
}

/** There is no CA that can be used; the message says why, and names files. */
export class CaError extends Error {
  override readonly name = 'CaError'
}

/** Loads the configured CA, or the one in `state`, or makes one there. Throws CaError. */
export async function openCa({ ca, state }: Pick<Config, 'ca' | 'state'>): Promise<Ca> {
  const { cert, key } = ca ? { cert: ca.cert, key: ca.key.reveal() } : await keptPair(state)
  let signer: CaSigner
  try {
    signer = await caSigner(cert, key)
  } catch (error) {
    const where = ca ? 'the configured CA' : `the CA in ${state}`
    throw new CaError(`${where} cannot be used: ${errorText(error)}`, { cause: error })
  }
  const parsed = new X509Certificate(cert)
  const isRoot = parsed.checkIssued(parsed)
  return { signer, certPem: cert, chainPem: isRoot ? '' : cert, fingerprint: parsed.fingerprint256 }
}

async function keptPair(state: string): Promise<{ cert: string; key: string }> {
  const certFile = join(state, 'ca.pem')
  const keyFile = join(state, 'ca.key')
  try {
    mkdirSync(state, { recursive: true, mode: 0o700 })
    refuseModes(state, 0o022, 'others can write to the folder', 'chmod go-w')
    if (!exists(keyFile)) {
      if (exists(certFile)) {
        throw new CaError(
          `${certFile} is there but its key ${keyFile} is not: restore the key, or move both away`,
        )
      }
      placeOnce(keyFile, await makeCaKey(), 0o600)
    }
    refuseModes(keyFile, 0o077, 'others can read the key', 'chmod 600')
    const key = readFileSync(keyFile, 'utf8')
    if (!exists(certFile)) placeOnce(certFile, await selfSign(key), 0o644)
    return { cert: readFileSync(certFile, 'utf8'), key }
  } catch (error) {
    if (error instanceof CaError) throw error
    throw new CaError(`the CA in ${state} cannot be read or made: ${errorText(error)}`, { cause: error })
  }
}

// The file appears with all its content at once; where another process was faster, its file stays.
function placeOnce(file: string, content: string, mode: number): void {
  const draft = `${file}.${process.pid}.${Date.now()}.new`
  writeFileSync(draft, content, { mode, flag: 'wx', flush: true })
  try {
    linkSync(draft, file)
  } catch (error) {
    if (errorText(error) !== 'EEXIST') throw error
  } finally {
    unlinkSync(draft)
  }
}

function refuseModes(file: string, forbidden: number, what: string, remedy: string): void {
  if (process.platform === 'win32') return
  const mode = statSync(file).mode & 0o777
  if ((mode & forbidden) === 0) return
  throw new CaError(`${file} has mode ${mode.toString(8)}: ${what} (${remedy} ${file})`)
}

function exists(file: string): boolean {
  return statSync(file, { throwIfNoEntry: false }) !== undefined
}
