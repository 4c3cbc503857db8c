/** What the figures were measured on; nothing that identifies the machine. */
import { execFileSync } from 'node:child_process'
import { availableParallelism, cpus, release } from 'node:os'

export function machine() {
  return {
    cores: availableParallelism(),
    cpu: cpus()[0]?.model ?? 'unknown',
    kernel: `${process.platform} ${release().split('-')[0]}`,
    arch: process.arch,
    node: process.version,
    nodeOpenssl: process.versions.openssl,
    openssl: execFileSync('openssl', ['version'], { encoding: 'utf8' }).split(' ')[1],
  }
}
