/**
 * The record of what went through and what did not: JSON, one line each, appended to one file (docs/audit.md).
 *
 * Rule 1: a record is in the kernel's hands when `write` returns, or it is held and tried again: before the next
 *         record, before the next request, and every second.
 * Rule 2: while records are held, the sink is broken: with `block`, nothing that would need a record is let through
 *         (`admits`), so that at most what was under way when the sink broke is held.
 * Rule 3: what is held is bounded. Records that find no room, and refusals for the sink's own sake, are counted, and a
 *         `lost` record says how many as soon as there is a sink again.
 * Rule 4: a line is written whole; what a crash or a full disk left half written is ended before anything else.
 * Rule 5: nothing is written once the file is closed: its descriptor may be a client's connection by then.
 * Rule 6: no value of a secret, a header, a query or a body is ever in a record.
 */
import { closeSync, fstatSync, mkdirSync, openSync, readSync, writeSync } from 'node:fs'
import { dirname } from 'node:path'
import { errorText, type Log } from './log.js'
import type { ReasonCode } from './reasons.js'

interface Outcome {
  readonly session: string
  readonly org: string
  /** id of the tunnel */
  readonly connection: string
  readonly host: string | null
  readonly port: number | null
  /** number of the rule, `default`, or null where it did not come to that */
  readonly rule: string | null
  readonly decision: 'allow' | 'deny'
  /** null where all went well */
  readonly reason: ReasonCode | null
  /** more on the reason, in the gateway's own words */
  readonly detail: string | null
  /** of the answer that was sent or begun, null where there was none */
  readonly status: number | null
  readonly durationMs: number
}

/** Of a tunnel, written at its end. Bytes are those of the tunnel: TLS records, not what is inside. */
export interface ConnectRecord extends Outcome {
  readonly event: 'connect'
  readonly requests: number
  readonly bytesUp: number
  readonly bytesDown: number
}

/** Of a request inside a tunnel, written at its end. Bytes are those of the bodies. */
export interface RequestRecord extends Outcome {
  readonly event: 'request'
  /** id of the request: the tunnel's, and its number in it */
  readonly request: string
  readonly method: string | null
  /** without values of the query */
  readonly path: string | null
  /** names of the headers that were set for the origin */
  readonly injected: readonly string[]
  readonly bytesUp: number
  readonly bytesDown: number
  /** to the head of the response, null where there was none */
  readonly waitMs: number | null
}

/** Of the gateway itself. */
export interface GatewayRecord {
  readonly event: 'start' | 'stop'
  readonly gateway: string
  readonly pid: number
}

export type AuditRecord = ConnectRecord | RequestRecord | GatewayRecord

export interface AuditOptions {
  readonly file: string
  readonly onError: 'block' | 'continue'
  readonly log: Log
  /** most bytes held while the sink is broken (default: 4 MiB) */
  readonly maxHeldBytes?: number
}

/** Opens the file for appending, its folder made if need be. Throws what the file system says. */
export class Audit {
  readonly #onError: 'block' | 'continue'
  readonly #log: Log
  readonly #maxHeldBytes: number
  readonly #descriptor: number
  #held: Buffer[] = []
  #heldBytes = 0
  #lost = 0
  #broken = false
  #closed = false
  #retry: NodeJS.Timeout | undefined

  constructor({ file, onError, log, maxHeldBytes = 4 * 1024 * 1024 }: AuditOptions) {
    this.#onError = onError
    this.#log = log
    this.#maxHeldBytes = maxHeldBytes
    mkdirSync(dirname(file), { recursive: true, mode: 0o700 })
    this.#descriptor = openSync(file, 'a+', 0o600)
    if (endsInsideLine(this.#descriptor)) this.#hold(Buffer.from('\n'))
  }

  /** records are held that could not be written */
  get broken(): boolean {
    return this.#broken
  }

  /** Whether something that will need a record may go ahead. Tries a broken sink first. */
  admits(): boolean {
    if (this.#closed) return false
    if (this.#broken) this.#flush()
    return !this.#broken || this.#onError === 'continue'
  }

  /** Writes a record, or holds it; never throws. */
  write(record: AuditRecord): void {
    if (this.#closed) {
      this.#log.error('audit-record-after-close', { event: record.event })
      return
    }
    if (this.#broken) this.#flush()
    // A flood of refusals is no reason to lose the record of what was forwarded.
    const ofTheSink = 'reason' in record && record.reason === 'audit-unavailable'
    const line = lineOf(record)
    if (this.#broken && (ofTheSink || this.#heldBytes + line.length > this.#maxHeldBytes)) {
      this.#lost++
      return
    }
    this.#hold(line)
    this.#flush()
  }

  /** Tries once more to write what is held, and closes the file. */
  close(): void {
    if (this.#closed) return
    if (this.#heldBytes > 0) this.#flush()
    clearTimeout(this.#retry)
    if (this.#broken) this.#log.error('audit-records-lost', { records: this.#held.length + this.#lost })
    this.#closed = true
    closeSync(this.#descriptor)
  }

  #hold(line: Buffer): void {
    this.#held.push(line)
    this.#heldBytes += line.length
  }

  #flush(): void {
    try {
      while (this.#held.length > 0) {
        const line = this.#held[0]!
        const written = writeSync(this.#descriptor, line)
        this.#heldBytes -= written
        // The rest of a line goes first the next time.
        if (written < line.length) this.#held[0] = line.subarray(written)
        else this.#held.shift()
        if (this.#held.length === 0 && this.#lost > 0) {
          this.#hold(lineOf({ event: 'lost', records: this.#lost }))
          this.#lost = 0
        }
      }
      if (this.#broken) this.#log.info('audit-recovered')
      this.#broken = false
    } catch (error) {
      if (!this.#broken) {
        const consequence = this.#onError === 'block' ? 'requests are refused' : 'records may be lost'
        this.#log.error('audit-broken', { cause: errorText(error), consequence })
      }
      this.#broken = true
      this.#retry ??= setTimeout(() => {
        this.#retry = undefined
        this.#flush()
      }, RETRY_MS).unref()
    }
  }
}

const MAX_PATH_CHARACTERS = 2048
const RETRY_MS = 1000

/**
 * A request target for the record: the path, and of the query the names alone. A part without `=` may be a value,
 * so it is left out as well.
 */
export function recordedPath(target: string): string {
  const [path = '', ...query] = target.split('?')
  if (query.length === 0) return shortened(path)
  const names = query
    .join('?')
    .split('&')
    .map((part) => (part.includes('=') ? `${part.slice(0, part.indexOf('='))}=*` : '*'))
  return shortened(`${path}?${names.join('&')}`)
}

function shortened(text: string): string {
  return text.length <= MAX_PATH_CHARACTERS ? text : `${text.slice(0, MAX_PATH_CHARACTERS)}…`
}

function lineOf(record: AuditRecord | { event: 'lost'; records: number }): Buffer {
  return Buffer.from(`${JSON.stringify({ v: 1, time: new Date().toISOString(), ...record })}\n`)
}

// Of a regular file only; a pipe or a device has no end to look at.
function endsInsideLine(descriptor: number): boolean {
  const stat = fstatSync(descriptor)
  if (!stat.isFile() || stat.size === 0) return false
  const last = Buffer.alloc(1)
  readSync(descriptor, last, 0, 1, stat.size - 1)
  return last[0] !== 0x0a
}
