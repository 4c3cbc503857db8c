/** What a FrameDecoder made of a stream, in a form that can be compared. */
import type { Framing } from '#src/platform/framing.js'
import { DEFAULT_MAX_MESSAGE_BYTES } from '#src/wire/index.js'

export interface Decoded {
  /** in hexadecimal, all of it */
  readonly payload: string
  /** every bit that came up */
  readonly events: number
  /** payloads of the pings that could be taken after a push, in hexadecimal */
  readonly lastPing: string | undefined
  readonly payloadBytes: number
  readonly closeCode: number | undefined
  /** code of the failure */
  readonly failure: string | undefined
  /** undefined after a failure */
  readonly betweenMessages: boolean | undefined
}

/** Pushes the pieces, each in memory of its own that is overwritten behind it. */
export function decode(
  framing: Framing,
  pieces: readonly Uint8Array[],
  maxMessageBytes: number = DEFAULT_MAX_MESSAGE_BYTES,
): Decoded {
  const decoder = framing.createDecoder({ maxMessageBytes })
  const payload: Buffer[] = []
  let events = 0
  let lastPing: Buffer | undefined
  for (const piece of pieces) {
    const lent = Uint8Array.from(piece)
    events |= decoder.push(lent)
    lent.fill(0x55)
    payload.push(...decoder.takePayload())
    lastPing = decoder.takePing() ?? lastPing
  }
  return {
    payload: Buffer.concat(payload).toString('hex'),
    events,
    lastPing: lastPing?.toString('hex'),
    payloadBytes: decoder.payloadBytes,
    closeCode: decoder.closeCode,
    failure: decoder.failure?.code,
    betweenMessages: decoder.failure === undefined ? decoder.betweenMessages : undefined,
  }
}

export function hex(text: string | Uint8Array): string {
  return Buffer.from(text as Uint8Array).toString('hex')
}
