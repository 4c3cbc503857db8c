/**
 * Puts the bundle where clients find it.
 *
 * Rule 1: whole or absent: written beside its place, then linked into it.
 * Rule 2: nobody's file changes under them. Nothing tells whether the session that wrote a file still runs (its
 *         process may live in another container that shares the folder), so no file ever gets another content: where
 *         the place is taken by one, the bundle goes beside it, under a name made of its own content.
 * Rule 3: everyone may read it: it is no secret, and clients run as other users too.
 */
import { createHash, randomBytes } from 'node:crypto'
import { fsync } from 'node:fs'
import { chmod, link, lstat, mkdir, mkdtemp, open, readFile, rename, rm, stat } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { dirname, extname, join, resolve } from 'node:path'
import { promisify } from 'node:util'
import { codeOf, codeOrText, ProxyError } from '../errors.js'

export interface WrittenBundle {
  /** absolute */
  readonly path: string
  /** why it is not in the wanted folder; undefined where it is */
  readonly detour: string | undefined
  /** takes away what serves this session alone: the temporary folder, where there is one */
  remove(): Promise<void>
}

/**
 * Writes the bundle to the path, beside it, or to a temporary folder where neither works (or no path is given).
 * @throws ProxyError ERR_CA_WRITE where that fails too
 */
export async function writeBundle(text: string, wanted: string | undefined): Promise<WrittenBundle> {
  let detour = 'there is no home folder'
  if (wanted !== undefined) {
    try {
      return { path: await place(text, resolve(wanted)), detour: undefined, remove: async () => undefined }
    } catch (error) {
      detour = `${wanted}: ${codeOrText(error)}`
    }
  }
  let folder: string | undefined
  try {
    folder = await mkdtemp(join(tmpdir(), 'upstreamproxy-'))
    const remove = removal(folder)
    await chmod(folder, 0o755)
    return { path: await place(text, join(resolve(folder), 'ca-bundle.crt')), detour, remove }
  } catch (cause) {
    if (folder !== undefined) await removal(folder)()
    const message = `cannot write the CA bundle: ${detour}; ${join(tmpdir(), 'upstreamproxy-*')}: ${codeOrText(cause)}`
    throw new ProxyError('ERR_CA_WRITE', message, {
      cause,
      hint: 'name a writable place with --ca-bundle FILE',
    })
  }
}

async function place(text: string, wanted: string): Promise<string> {
  const byContent = withDigest(wanted, text)
  for (const path of [wanted, byContent]) if (await holds(path, text)) return path
  await makeFolder(dirname(wanted))
  const temporary = join(dirname(wanted), `.upstreamproxy-${randomBytes(6).toString('hex')}.tmp`)
  try {
    await writeDurably(temporary, text)
    for (const path of [wanted, byContent]) if (await claim(path, temporary, text)) return path
    // Its name promises our content and it holds another: a torn file of somebody's, and ours heals it.
    await rename(temporary, byContent)
    return byContent
  } finally {
    await rm(temporary, { force: true })
  }
}

// Whether the path is ours now: link(2) is atomic, and fails where something is there already.
async function claim(path: string, temporary: string, text: string): Promise<boolean> {
  try {
    await link(temporary, path)
    return true
  } catch (error) {
    if (codeOf(error) === 'EEXIST') return holds(path, text)
    // A file system without hard links; between this look and the rename another session may come, and no better
    // way is left.
    if ((await lstatOf(path)) !== undefined) return holds(path, text)
    await rename(temporary, path)
    return true
  }
}

// Whether that content is there, for everyone to read.
async function holds(path: string, text: string): Promise<boolean> {
  try {
    const stats = await stat(path)
    if (!stats.isFile() || stats.size !== text.length) return false
    if ((await readFile(path, 'latin1')) !== text) return false
    if ((stats.mode & 0o444) !== 0o444) await chmod(path, 0o644)
    return true
  } catch {
    // Absent, or nothing that can be read or shared: not the place.
    return false
  }
}

async function writeDurably(path: string, text: string): Promise<void> {
  const file = await open(path, 'wx', 0o644)
  try {
    await file.writeFile(text, 'latin1')
    // Whatever our umask is.
    await file.chmod(0o644)
    // Not file.sync(): under Yarn's Plug'n'Play that is a method that throws.
    await flush(file.fd)
  } finally {
    await file.close()
  }
}

async function makeFolder(folder: string): Promise<void> {
  const first = await mkdir(folder, { recursive: true, mode: 0o755 })
  if (first === undefined) return
  // Whatever our umask is: each folder that was made, up to the topmost.
  for (let made = folder; made.startsWith(first); made = dirname(made)) await chmod(made, 0o755)
}

async function lstatOf(path: string) {
  try {
    return await lstat(path)
  } catch (error) {
    if (codeOf(error) === 'ENOENT') return undefined
    throw error
  }
}

// ca-bundle.crt → ca-bundle-0123456789ab.crt
function withDigest(path: string, text: string): string {
  const digest = createHash('sha256').update(text, 'latin1').digest('hex').slice(0, 12)
  const extension = extname(path)
  return `${path.slice(0, path.length - extension.length)}-${digest}${extension}`
}

function removal(folder: string): () => Promise<void> {
  return () => rm(folder, { recursive: true, force: true })
}

const flush = promisify(fsync)
