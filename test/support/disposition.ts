/** What the kernel tells of a process's signals (proc_pid_status(5)). */
import { readFileSync } from 'node:fs'
import { constants } from 'node:os'

/** Where SIGUSR1 goes. */
export function sigusr1Of(pid: number | 'self'): 'default' | 'ignored' | 'caught' {
  const status = readFileSync(`/proc/${pid}/status`, 'latin1')
  const isIn = (mask: string) => {
    const bits = BigInt(`0x${new RegExp(`^${mask}:\\s*([0-9a-f]+)$`, 'm').exec(status)?.[1]}`)
    return (bits >> BigInt(constants.signals.SIGUSR1 - 1)) % 2n === 1n
  }
  if (isIn('SigIgn')) return 'ignored'
  return isIn('SigCgt') ? 'caught' : 'default'
}
