/**
 * The session token: read once, held in the heap only, printed never (invariant 2).
 *
 * Rule 1: no error of this file holds a byte of what was read.
 */
import { constants } from 'node:fs'
import { type FileHandle, open, realpath, stat, unlink } from 'node:fs/promises'
import { inspect } from 'node:util'
import { codeOf, ProxyError } from './errors.js'

/** Wraps a secret so that printing, serialising or inspecting it shows `<redacted>`; `reveal()` is the only way in. */
export class Token {
  readonly #value: string

  constructor(value: string) {
    this.#value = value
  }

  /** The secret itself: for the headers that carry it, and nothing else. */
  reveal(): string {
    return this.#value
  }

  toString(): string {
    return '<redacted>'
  }

  toJSON(): string {
    return '<redacted>'
  }

  [inspect.custom](): string {
    return '<redacted>'
  }
}

/**
 * Reads the token from a file: one line of 1 to 4096 visible ASCII characters, white space around it ignored. Larger
 * ones would break the header limits of what lies on the way to the gateway.
 * @throws ProxyError ERR_TOKEN_MISSING, ERR_TOKEN_UNREADABLE, ERR_TOKEN_NOT_A_FILE, ERR_TOKEN_EMPTY,
 *   ERR_TOKEN_TOO_LARGE, ERR_TOKEN_MALFORMED
 */
export async function readToken(path: string): Promise<Token> {
  const text = trimAscii(await readText(path))
  if (text === '') throw new ProxyError('ERR_TOKEN_EMPTY', `the token file ${path} is empty`)
  if (text.length > MAX_TOKEN_BYTES) throw tooLarge(path)
  if (!/^[!-~]+$/.test(text)) {
    const hint = text.startsWith('\u00ef\u00bb\u00bf') ? { hint: 'it begins with a byte order mark' } : {}
    throw new ProxyError('ERR_TOKEN_MALFORMED', `the token in ${path} is not one line of visible ASCII`, hint)
  }
  return new Token(text)
}

/** Whether there is anything at the path. */
export async function tokenFileExists(path: string): Promise<boolean> {
  try {
    await stat(path)
    return true
  } catch (error) {
    // Anything but absence is for readToken to report.
    return !isMissing(error)
  }
}

/**
 * Removes the token file; where the path is a symbolic link, the file behind it first: it is the secret that has to
 * go, not one of its names. Nothing there is nothing to do.
 * @throws ProxyError ERR_TOKEN_UNLINK
 */
export async function unlinkToken(path: string): Promise<void> {
  try {
    const target = await realpath(path)
    if (!(await stat(target)).isFile()) throw notAFile(path)
    await unlink(target)
    // A link that is left leads nowhere, so it need not go.
    if (target !== path) await unlink(path).catch(() => undefined)
  } catch (cause) {
    if (isMissing(cause)) return
    throw new ProxyError('ERR_TOKEN_UNLINK', `cannot remove the token file ${path}: ${reasonOf(cause)}`, {
      cause,
      hint: 'other processes of this user can still read the token',
    })
  }
}

async function readText(path: string): Promise<string> {
  let file: FileHandle | undefined
  try {
    // Non-blocking, so that a FIFO without a writer does not hold us up for ever.
    file = await open(path, constants.O_RDONLY | constants.O_NONBLOCK)
    if (!(await file.stat()).isFile()) throw notAFile(path)
    const buffer = Buffer.alloc(MAX_FILE_BYTES + 1)
    let length = 0
    for (let read = -1; read !== 0 && length < buffer.length; length += read) {
      read = (await file.read(buffer, length, buffer.length - length, length)).bytesRead
    }
    if (length > MAX_FILE_BYTES) throw tooLarge(path)
    const text = buffer.toString('latin1', 0, length)
    buffer.fill(0)
    return text
  } catch (cause) {
    if (cause instanceof ProxyError) throw cause
    if (isMissing(cause)) {
      throw new ProxyError('ERR_TOKEN_MISSING', `there is no token file ${path}`, {
        cause,
        hint: 'whoever starts the container writes it; another place: --token-file',
      })
    }
    throw new ProxyError('ERR_TOKEN_UNREADABLE', `cannot read the token file ${path}: ${reasonOf(cause)}`, {
      cause,
    })
  } finally {
    await file?.close()
  }
}

function trimAscii(text: string): string {
  let [start, end] = [0, text.length]
  while (start < end && isSpace(text.charCodeAt(start))) start += 1
  while (end > start && isSpace(text.charCodeAt(end - 1))) end -= 1
  return text.slice(start, end)
}

// Space, and tab to carriage return. Not String.trim(), which takes a byte order mark for white space.
function isSpace(code: number): boolean {
  return code === 0x20 || (code >= 0x09 && code <= 0x0d)
}

function notAFile(path: string): ProxyError {
  return new ProxyError('ERR_TOKEN_NOT_A_FILE', `the token path ${path} is not a regular file`)
}

function tooLarge(path: string): ProxyError {
  return new ProxyError('ERR_TOKEN_TOO_LARGE', `the token in ${path} is over ${MAX_TOKEN_BYTES} bytes`)
}

// Rule 1: an error's text may hold what was read.
function reasonOf(error: unknown): string {
  return codeOf(error) ?? 'unknown error'
}

function isMissing(error: unknown): boolean {
  return codeOf(error) === 'ENOENT'
}

const MAX_TOKEN_BYTES = 4 * 1024
// Room for white space around the token.
const MAX_FILE_BYTES = 8 * 1024
