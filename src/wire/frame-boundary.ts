/**
 * Follows the frames that a WebSocket server sends, header by header, to know one thing: whether the bytes so far
 * end between messages.
 *
 * Rule 1: nothing is kept but a partial header (at most 9 bytes); payloads are stepped over.
 * Rule 2: nothing is judged: whether the frames are valid is the WebSocket library's to say.
 */
export class FrameBoundary {
  #header: number[] = []
  #payloadLeft = 0
  #midMessage = false

  /** true where a TCP FIN now would cut no message short */
  get betweenMessages(): boolean {
    return this.#header.length === 0 && this.#payloadLeft === 0 && !this.#midMessage
  }

  push(bytes: Uint8Array): void {
    let at = 0
    while (at < bytes.length) {
      if (this.#payloadLeft > 0) {
        const step = Math.min(this.#payloadLeft, bytes.length - at)
        this.#payloadLeft -= step
        at += step
      } else {
        this.#header.push(bytes[at++]!)
        this.#readHeader()
      }
    }
  }

  #readHeader(): void {
    const header = this.#header
    if (header.length < 2) return
    const length = header[1]! & 0x7f
    const extended = length === 126 ? 2 : length === 127 ? 8 : 0
    if (header.length < 2 + extended) return
    this.#payloadLeft = extended === 0 ? length : header.slice(2).reduce((sum, byte) => sum * 256 + byte, 0)
    const isControl = (header[0]! & 0x08) !== 0
    if (!isControl) this.#midMessage = (header[0]! & 0x80) === 0
    this.#header = []
  }
}
