/** Framing of the data path in TypeScript: what serves where the addon does not. */
import type { Framing } from '../platform/framing.js'
import { encodeFrameInto } from './client-frame.js'
import { createDecoder } from './frame-decoder.js'

export const typescriptFraming: Framing = { encodeFrameInto, createDecoder }
