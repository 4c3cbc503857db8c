/** Waiting for connections to end, with a deadline that can be brought forward. */

/** Opens once; whoever waits goes on then. */
export class Latch {
  readonly opened: Promise<void>
  open!: () => void

  constructor() {
    this.opened = new Promise((resolve) => {
      this.open = resolve
    })
  }

  /** Opens by itself after so long, unless `unneeded` resolves before. Keeps the process alive that long. */
  openAfter(ms: number, unneeded: Promise<void>): void {
    const timer = setTimeout(this.open, ms)
    void unneeded.then(() => clearTimeout(timer))
  }
}

/** for open tunnels to end by themselves */
export const DEFAULT_DRAIN_MS = 2_000
/** for what is left to be told that it ends */
export const FLUSH_MS = 1_000
