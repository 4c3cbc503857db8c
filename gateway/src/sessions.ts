/**
 * Who a tunnel belongs to: the bearer token of the upgrade names the session, and the first chunk's Basic credentials
 * must be of the same one.
 *
 * Rule 1: secrets are compared as SHA-256 digests in constant time, and every session is compared, so that the time
 *         taken tells neither a prefix nor which session was near.
 */
import { createHash, timingSafeEqual } from 'node:crypto'
import type { Org } from './policy.js'
import type { Secret } from './secret.js'

export interface Session {
  readonly id: string
  readonly token: Secret
  readonly org: Org
}

/** The sessions of a configuration, by digest. */
export class Sessions {
  readonly #known: readonly { session: Session; bearer: Buffer; basic: Buffer }[]

  constructor(sessions: readonly Session[]) {
    this.#known = sessions.map((session) => ({
      session,
      bearer: digest(session.token.reveal()),
      basic: digest(`${session.id}:${session.token.reveal()}`),
    }))
  }

  /** The session of an `Authorization: Bearer …` header. */
  byBearer(header: string | undefined): Session | undefined {
    const given = digest(/^bearer +([\x21-\x7e]+)$/i.exec(header ?? '')?.[1] ?? '')
    let found: Session | undefined
    for (const { session, bearer } of this.#known) if (timingSafeEqual(bearer, given)) found = session
    return found
  }

  /** Whether a `Proxy-Authorization: Basic …` header holds the id and token of this very session. */
  isBasicOf(session: Session, header: string | undefined): boolean {
    const encoded = /^basic +([A-Za-z0-9+/]+={0,2})$/i.exec(header ?? '')?.[1] ?? ''
    const given = digest(Buffer.from(encoded, 'base64'))
    let matches = false
    for (const known of this.#known) {
      if (timingSafeEqual(known.basic, given) && known.session === session) matches = true
    }
    return matches
  }
}

function digest(value: string | Buffer): Buffer {
  return createHash('sha256').update(value).digest()
}
