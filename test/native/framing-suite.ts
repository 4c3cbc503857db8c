/**
 * What every implementation of Framing must do. It asserts by itself and needs no test runner, since it runs under Bun
 * too (framing-program.ts).
 */
import type { Framing } from '#src/platform/framing.js'
import { CONTROL_CASES } from './framing-control-cases.js'
import { DECODER_CASES } from './framing-decoder-cases.js'
import { ENCODER_CASES } from './framing-encoder-cases.js'
import { WRITER_CASES } from './framing-writer-cases.js'

/** A sentence about behaviour, and what throws where it does not hold. */
export type FramingCase = readonly [title: string, run: (framing: Framing) => void]

export const FRAMING_SUITE: readonly FramingCase[] = [
  ...ENCODER_CASES,
  ...DECODER_CASES,
  ...CONTROL_CASES,
  ...WRITER_CASES,
]
