/** Errors of system calls, as every implementation of ProcessControl throws them. */
import { getSystemErrorName } from 'node:util'
import type { SystemCallError } from './process-control.js'

/** `prctl: EPERM`; `errno` is positive, as in errno.h. What has no name is EUNKNOWN, as from the addon. */
export function systemCallError(syscall: string, errno: number): SystemCallError {
  const name = errno > 0 ? getSystemErrorName(-errno) : ''
  const code = /^E[A-Z\d]+$/.test(name) ? name : 'EUNKNOWN'
  return Object.assign(new Error(`${syscall}: ${code}`), { code, errno, syscall })
}

/** What a person needs of an error: its code, where it has one, else the first line of its text. */
export function reasonOf(error: unknown): string {
  if (!(error instanceof Error)) return String(error)
  if ('syscall' in error && 'code' in error) return `${error.syscall}: ${error.code}`
  return error.message.split('\n', 1)[0] || error.name
}
