/**
 * TLS contexts for the hosts of authorised CONNECTs, each with a leaf certificate minted once.
 *
 * Rule 1: a leaf is minted only for the host that a CONNECT was allowed for, never for what a TLS hello names.
 * Rule 2: at most `maxLeaves` are kept, the least lately used go first, nothing goes to disk.
 * Rule 3: however many ask for a host at once, one leaf is minted.
 */
import { createSecureContext, type SecureContext } from 'node:tls'
import type { Ca } from './ca.js'
import { type IssuedLeaf, issueLeaf } from './certificates.js'

interface KeptLeaf {
  readonly context: Promise<SecureContext>
  renewAt: number
}

/** Mints and keeps the contexts. */
export class Leaves {
  readonly #ca: Ca
  readonly #max: number
  readonly #now: () => number
  // In the order of last use.
  readonly #kept = new Map<string, KeptLeaf>()

  constructor(ca: Ca, { max, now = Date.now }: { readonly max: number; readonly now?: () => number }) {
    this.#ca = ca
    this.#max = max
    this.#now = now
  }

  /** leaves that are kept */
  get size(): number {
    return this.#kept.size
  }

  /** The context of a canonical host. */
  contextFor(host: string): Promise<SecureContext> {
    const known = this.#kept.get(host)
    this.#kept.delete(host)
    const leaf = known !== undefined && this.#now() < known.renewAt ? known : this.#mint(host)
    this.#kept.set(host, leaf)
    for (const oldest of this.#kept.keys()) {
      if (this.#kept.size <= this.#max) break
      this.#kept.delete(oldest)
    }
    return leaf.context
  }

  #mint(host: string): KeptLeaf {
    const issued = issueLeaf(this.#ca.signer, host, this.#now())
    const leaf: KeptLeaf = {
      context: issued.then((it) => this.#context(it)),
      renewAt: Number.POSITIVE_INFINITY,
    }
    issued.then(
      ({ notAfter }) => {
        // With two thirds of its life behind it; never again and again where the CA itself is about to end.
        leaf.renewAt = Math.max(notAfter.getTime() - RENEW_BEFORE_MS, this.#now() + MINUTE_MS)
      },
      () => {
        if (this.#kept.get(host) === leaf) this.#kept.delete(host)
      },
    )
    return leaf
  }

  #context({ cert, key }: IssuedLeaf): SecureContext {
    return createSecureContext({ cert: cert + this.#ca.chainPem, key, minVersion: 'TLSv1.2' })
  }
}

const MINUTE_MS = 60 * 1000
const RENEW_BEFORE_MS = 10 * 24 * 60 * MINUTE_MS
