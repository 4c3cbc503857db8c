/**
 * What the operating system is asked to do to this very process. One interface, served by the addon, by koffi or by
 * bun:ffi; the implementations do what they are told and judge nothing (hardening.ts does).
 */

/** Where SIGUSR1 goes: to its default action, nowhere, or to a handler (the inspector's, or a listener's). */
export type Disposition = 'default' | 'ignored' | 'caught'

/**
 * Calls for this process, on Linux. Each throws a SystemCallError where the kernel refuses. Dispositions and
 * dumpability belong to the whole process, whichever thread asks.
 */
export interface ProcessControl {
  /** prctl(2), PR_SET_DUMPABLE */
  setDumpable(dumpable: boolean): void
  /** prctl(2), PR_GET_DUMPABLE: 1 is true; 0, and 2 (readable by root alone), are false */
  isDumpable(): boolean
  /** sigaction(2) */
  sigusr1(): Disposition
  /** Ignores SIGUSR1 from now on; keeps what was there for `restoreSigusr1`. Where it is ignored already: nothing. */
  ignoreSigusr1(): void
  /**
   * Puts back what `ignoreSigusr1` replaced; does nothing where there is nothing to put back, or where somebody else has
   * set the disposition since.
   */
  restoreSigusr1(): void
  /**
   * the process that traces this one, 0 for none: TracerPid of proc_pid_status(5), of every thread, since a tracer of
   * any thread reads the memory of all
   */
  tracerPid(): number
}

/** What a refused call throws, from every implementation alike. */
export interface SystemCallError extends Error {
  /** name of the errno, such as `EPERM` */
  readonly code: string
  /** positive, as in errno.h */
  readonly errno: number
  /** the call that was refused, such as `prctl` */
  readonly syscall: string
}
