/**
 * The file of `serve --write-env`: the variables that lead clients through the relay, one `KEY=value` a line.
 *
 * Three readers take it, and their quoting differs: `. FILE` in a POSIX shell strips quotes, `docker --env-file`
 * keeps them as part of the value, systemd's EnvironmentFile= has rules of its own. So there are no quotes.
 *
 * Rule 1: a value is written as it is, and only where all three read it as it is; else nothing is written at all
 *         (HTTPS_PROXY without its CA would break the clients that it is meant for).
 * Rule 2: the file is whole or absent: written beside its place and renamed into it.
 * Rule 3: existence means "decided": a leftover from before goes away at start, and at the end, while the relay's
 *         port is still ours, the file is emptied, so that whoever reads it later goes without a proxy that is dead.
 */
import { randomBytes } from 'node:crypto'
import { chmodSync, lstatSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { codeOrText, ProxyError } from '../errors.js'

export interface EnvFile {
  /**
   * Takes away what an earlier process left, so that whoever waits for the file waits for this one.
   * @throws ProxyError ERR_ENV_FILE where it cannot, or where something other than a file is in the way
   */
  removeLeftover(): void
  /** @throws ProxyError ERR_ENV_FILE */
  write(variables: Variables): void
  /** Leaves an empty file there, unless by now it is somebody else's, or has been taken away; never throws. */
  empty(): void
}

export type Variables = Readonly<Record<string, string>>

/** The env file at `path`, in a folder that exists. */
export function envFile(path: string): EnvFile {
  let written: string | undefined
  return {
    removeLeftover() {
      attempt(path, () => {
        const existing = lstatSync(path, { throwIfNoEntry: false })
        if (existing === undefined) return
        if (!existing.isFile() && !existing.isSymbolicLink()) throw notAFile(path)
        rmSync(path)
      })
    },
    write(variables) {
      const text = envFileText(variables)
      attempt(path, () => replace(path, text))
      written = text
    },
    empty() {
      try {
        if (textAt(path) === written) replace(path, '')
      } catch {
        // Out of reach: what could not be written has been reported, and at the end there is nobody left to tell.
      }
    },
  }
}

/**
 * The text of the file; no variables, no text.
 * @throws ProxyError ERR_ENV_FILE where a value cannot be written so that all readers agree
 */
export function envFileText(variables: Variables): string {
  return Object.entries(variables)
    .map(([name, value]) => {
      if (!PLAIN_NAME.test(name) || !PLAIN_VALUE.test(value)) {
        throw new ProxyError(
          'ERR_ENV_FILE',
          `${name}=${JSON.stringify(value)} cannot be written without quotes`,
          {
            hint: 'shells, docker and systemd quote differently: choose a path of letters, digits and ./_-',
          },
        )
      }
      return `${name}=${value}\n`
    })
    .join('')
}

function textAt(path: string): string | undefined {
  return lstatSync(path, { throwIfNoEntry: false }) === undefined ? undefined : readFileSync(path, 'utf8')
}

function replace(path: string, text: string): void {
  const temporary = join(dirname(path), `.upstreamproxy-${randomBytes(6).toString('hex')}.tmp`)
  try {
    writeFileSync(temporary, text, { flag: 'wx', mode: 0o644 })
    // Other users of the container read it, whatever our umask is.
    chmodSync(temporary, 0o644)
    renameSync(temporary, path)
  } catch (error) {
    rmSync(temporary, { force: true })
    throw error
  }
}

function notAFile(path: string): ProxyError {
  return new ProxyError('ERR_ENV_FILE', `${path} exists and is not a regular file`, {
    hint: 'the file is replaced by renaming, which a device or a folder cannot be',
  })
}

function attempt(path: string, work: () => void): void {
  try {
    work()
  } catch (cause) {
    if (cause instanceof ProxyError) throw cause
    throw new ProxyError('ERR_ENV_FILE', `cannot write ${path}: ${codeOrText(cause)}`, { cause })
  }
}

const PLAIN_NAME = /^[A-Za-z_]\w*$/
// No space, quote, backslash, `$`, backtick, `;&|<>()#!`; no `~`, which shells expand after `=` and `:`.
const PLAIN_VALUE = /^[\p{L}\p{N}_./:,@%+=*[\]{}?^-]*$/u
