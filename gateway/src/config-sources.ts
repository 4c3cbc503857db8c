/**
 * What a configuration draws on, its text, the environment and files, and what was found wrong on the way. Problems are
 * gathered, so that one reading tells all of them; values of secrets are in none.
 */
import { createPrivateKey, X509Certificate } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { resolve } from 'node:path'
import { createSecureContext } from 'node:tls'
import type { ConfigPath, Problem, YamlSource } from './config-problems.js'
import type { RawSecretSource } from './config-schema.js'
import { ValueError } from './config-values.js'
import { errorText } from './log.js'
import { PathError } from './path-pattern.js'
import { Secret } from './secret.js'

export interface PemPair {
  /** PEM: a certificate, its chain after it */
  readonly cert: string
  /** PEM */
  readonly key: Secret
}

export interface ConfigSurroundings {
  /** name of the text in messages (default: gateway.yaml) */
  readonly file?: string
  /** folder that relative paths start from */
  readonly folder: string
  /** where `env:` secrets come from */
  readonly env: Readonly<Record<string, string | undefined>>
}

export class ConfigSources {
  readonly problems: Problem[] = []
  readonly warnings: Problem[] = []
  readonly #source: YamlSource
  readonly #surroundings: ConfigSurroundings

  constructor(source: YamlSource, surroundings: ConfigSurroundings) {
    this.#source = source
    this.#surroundings = surroundings
  }

  /** A secret from its source; undefined after a problem. */
  secret(at: ConfigPath, { env, file }: RawSecretSource): Secret | undefined {
    if ((env === undefined) === (file === undefined)) {
      this.problem(at, 'expected either env: NAME or file: PATH')
      return undefined
    }
    let value: string | undefined
    if (env !== undefined) {
      value = this.#surroundings.env[env]
      if (value === undefined) {
        this.problem([...at, 'env'], `the environment variable ${env} is not set`)
        return undefined
      }
    } else {
      // Editors and `echo` end a file with a newline that is no part of the secret.
      value = this.text([...at, 'file'], file!)?.replace(/\r?\n$/, '')
    }
    if (value === '') this.problem(at, 'the secret is empty')
    return value === undefined || value === '' ? undefined : new Secret(value)
  }

  /** A certificate and its key, which belong together. */
  pemPair(
    at: ConfigPath,
    { cert: certFile, key: keyFile }: { cert: string; key: string },
  ): PemPair | undefined {
    const cert = this.certificates([...at, 'cert'], certFile)
    const keyText = this.text([...at, 'key'], keyFile)
    if (cert === undefined || keyText === undefined) return undefined
    try {
      const key = createPrivateKey(keyText)
      if (!new X509Certificate(cert).checkPrivateKey(key)) {
        this.problem([...at, 'key'], 'is not the key of the certificate beside it')
        return undefined
      }
      createSecureContext({ cert, key: keyText })
    } catch (error) {
      this.problem([...at, 'key'], `not a usable private key in PEM: ${errorText(error)}`)
      return undefined
    }
    return Object.freeze({ cert, key: new Secret(keyText) })
  }

  /** PEM text whose every block is a certificate. */
  certificates(at: ConfigPath, file: string): string | undefined {
    const text = this.text(at, file)
    if (text === undefined) return undefined
    const blocks = text.match(/-----BEGIN CERTIFICATE-----[^-]*-----END CERTIFICATE-----/g) ?? []
    try {
      for (const block of blocks) new X509Certificate(block)
    } catch {
      this.problem(at, 'holds a certificate that cannot be parsed')
      return undefined
    }
    if (blocks.length > 0) return text
    this.problem(at, 'holds no certificate in PEM')
    return undefined
  }

  /** The content of a file that is named relative to the configuration. */
  text(at: ConfigPath, file: string): string | undefined {
    try {
      return readFileSync(this.path(file), 'utf8')
    } catch (error) {
      this.problem(at, `${file} cannot be read: ${errorText(error)}`)
      return undefined
    }
  }

  /** The absolute path of a file that is named relative to the configuration. */
  path(file: string): string {
    return resolve(this.#surroundings.folder, file)
  }

  /** What a check gives, or undefined and a problem where it throws ValueError or PathError. */
  checked<T>(at: ConfigPath, check: () => T): T | undefined {
    try {
      return check()
    } catch (error) {
      if (!(error instanceof ValueError) && !(error instanceof PathError)) throw error
      this.problem(at, error.message, error instanceof ValueError ? error.hint : undefined)
      return undefined
    }
  }

  /** Notes what makes the configuration unusable. */
  problem(at: ConfigPath, message: string, hint?: string): void {
    this.problems.push(this.#source.at(at, `${labelOf(at)}: ${message}`, hint))
  }

  /** Notes what works and is still worth a look. */
  warn(at: ConfigPath, message: string, hint?: string): void {
    this.warnings.push(this.#source.at(at, message, hint))
  }
}

function labelOf(at: ConfigPath): string {
  return at
    .map((step) => (typeof step === 'number' ? `[${step}]` : `.${step}`))
    .join('')
    .slice(1)
}
