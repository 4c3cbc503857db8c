/** Bits of what a FrameDecoder's `push` returns (src/platform/framing.ts). */
export const FRAME_EVENT = {
  /** payload was written to the writer, or waits in `takePayload` */
  payload: 1,
  /** `takePing` has one */
  ping: 2,
  pong: 4,
  /** `closeCode` is set */
  closed: 8,
  /** `failure` is set */
  failed: 16,
  /** the writer holds a queue now */
  queued: 32,
} as const
