/** Bytes that arrive when they will, read when wanted. One reader at a time. */
import { within } from './deadline.js'

export class Inbox {
  readonly #what: string
  #pieces: Buffer[] = []
  #bytes = 0
  #finished = false
  #wake: (() => void) | undefined

  /** `what` names the bytes in the error of a read that fails */
  constructor(what: string) {
    this.#what = what
  }

  /** bytes that have come and have not been read */
  get waiting(): number {
    return this.#bytes
  }

  push(bytes: Buffer): void {
    if (bytes.length === 0) return
    this.#pieces.push(bytes)
    this.#bytes += bytes.length
    this.#wake?.()
  }

  /** No more will come. */
  finish(): void {
    this.#finished = true
    this.#wake?.()
  }

  /** The next piece as it came, undefined at the end. */
  async next(): Promise<Buffer | undefined> {
    await this.#until(() => this.#pieces.length > 0 || this.#finished, 'more bytes')
    const piece = this.#pieces.shift()
    this.#bytes -= piece?.length ?? 0
    return piece
  }

  /** Exactly so many bytes; rejects where the end comes before. */
  async read(bytes: number): Promise<Buffer> {
    await this.#until(() => this.#bytes >= bytes || this.#finished, `${bytes} bytes`)
    if (this.#bytes < bytes) throw new Error(`${this.#what}: ended ${bytes - this.#bytes} bytes short`)
    const all = Buffer.concat(this.#pieces)
    this.#pieces = all.length > bytes ? [all.subarray(bytes)] : []
    this.#bytes -= bytes
    return all.subarray(0, bytes)
  }

  /** Everything to the marker's end; rejects where the end comes before. */
  async readThrough(marker: string): Promise<Buffer> {
    let found = -1
    await this.#until(() => {
      if (this.#pieces.length > 1) this.#pieces = [Buffer.concat(this.#pieces)]
      found = this.#pieces[0]?.indexOf(marker) ?? -1
      return found >= 0 || this.#finished
    }, JSON.stringify(marker))
    if (found < 0) throw new Error(`${this.#what}: ended without ${JSON.stringify(marker)}`)
    return this.read(found + marker.length)
  }

  /** Everything to the end. */
  async readAll(): Promise<Buffer> {
    await this.#until(() => this.#finished, 'the end')
    return this.read(this.#bytes)
  }

  async #until(ready: () => boolean, what: string): Promise<void> {
    while (!ready()) {
      const woken = new Promise<void>((resolve) => {
        this.#wake = resolve
      })
      await within(woken, `${this.#what}: ${what}`)
    }
  }
}
