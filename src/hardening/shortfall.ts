/** A measure that could not be taken here, and why. */
export interface Shortfall {
  readonly measure: 'non-dumpable' | 'sigusr1' | 'inspector' | 'tracer'
  readonly reason: string
}
