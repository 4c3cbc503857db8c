/**
 * Certificates in PEM text (RFC 7468) and in files of it.
 *
 * Rule 1: a file is read up to the gateway's section of a bundle that we wrote (GATEWAY_SECTION) and no further: a CA
 *         that a gateway sent, in this session or one before, never comes back as a root of the system.
 * Rule 2: one pass over the text, whatever is in it.
 */
import { X509Certificate } from 'node:crypto'
import { readFile, stat } from 'node:fs/promises'

/** The line of a bundle after which the gateway's CA comes. */
export const GATEWAY_SECTION = "# upstreamproxy: below is the gateway's CA, which vouches for origins alone"

export interface PemBlock {
  /** what stands after BEGIN */
  readonly label: string
  /** the whole block, its BEGIN and END lines included; without an END where there is none */
  readonly text: string
  /** whether its END line is there */
  readonly complete: boolean
}

/** All blocks, in order; what lies between them is skipped. */
export function pemBlocks(text: string): readonly PemBlock[] {
  const blocks: PemBlock[] = []
  let open: { label: string; lines: string[] } | undefined
  const end = (complete: boolean) => {
    if (open) blocks.push({ label: open.label, text: `${open.lines.join('\n')}\n`, complete })
    open = undefined
  }
  for (const rawLine of text.split('\n')) {
    const line = rawLine.trimEnd()
    if (line.startsWith(BEGIN) && line.endsWith(DASHES)) {
      end(false)
      open = { label: line.slice(BEGIN.length, -DASHES.length), lines: [line] }
    } else if (open) {
      open.lines.push(line)
      if (line === `-----END ${open.label}${DASHES}`) end(true)
    }
  }
  end(false)
  return blocks
}

/** The certificate of a block; undefined where it is none that can be read. */
export function certificateOf(block: PemBlock): X509Certificate | undefined {
  if (block.label !== 'CERTIFICATE' || !block.complete) return undefined
  try {
    return new X509Certificate(block.text)
  } catch {
    // Neither DER inside, nor a certificate: what that means is for the caller to say.
    return undefined
  }
}

/** What a file of roots holds. Blocks that are no readable certificates are counted, not taken. */
export interface CertificateFile {
  readonly certificates: readonly X509Certificate[]
  readonly skipped: number
}

/** Reads a file of roots. Rejects with the system's error, or where it is not a regular file of up to 16 MiB. */
export async function readCertificates(path: string): Promise<CertificateFile> {
  const { size, isFile } = await statOf(path)
  if (!isFile) throw new Error('not a regular file')
  if (size > MAX_FILE_BYTES) throw new Error(`over ${MAX_FILE_BYTES} bytes`)
  const [own] = (await readFile(path, 'latin1')).split(GATEWAY_SECTION, 1)
  const found = pemBlocks(own ?? '').map(certificateOf)
  const certificates = found.filter((certificate) => certificate !== undefined)
  return { certificates, skipped: found.length - certificates.length }
}

async function statOf(path: string): Promise<{ size: number; isFile: boolean }> {
  const stats = await stat(path)
  return { size: stats.size, isFile: stats.isFile() }
}

const BEGIN = '-----BEGIN '
const DASHES = '-----'
const MAX_FILE_BYTES = 16 * 1024 * 1024
