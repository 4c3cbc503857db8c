/** A status document for people. */
import { ERROR_CODES, type ErrorCode } from '../errors.js'
import type { Capabilities } from '../platform/index.js'
import type { RelayStatus } from '../relay/status.js'

/** Some lines, the last with its newline; `colour` dims what is not news. */
export function readableStatus(status: RelayStatus, colour: boolean): string {
  const { version, engine, thread, capabilities, port, since, tunnels, bytes, failures } = status
  const dim = (text: string) => (colour ? `\x1b[2m${text}\x1b[22m` : text)
  const row = (name: string, text: string) => `  ${dim(name.padEnd(9))} ${text}\n`
  const failureRows = failures.map(({ at, code }, index) =>
    row(index === 0 ? 'failures' : '', `${dim(at)} ${code} ${dim(meaningOf(code))}`),
  )
  return [
    `upstreamproxy ${version} on 127.0.0.1:${port} ${dim(`(engine: ${engine}${thread === 'own' ? ', in a thread of its own' : ''})`)}\n`,
    row('up', `${readableDuration(Date.now() - Date.parse(since))} ${dim(`since ${since}`)}`),
    row('tunnels', `${tunnels.open} open, ${tunnels.total} in all`),
    row('bytes', `${readableBytes(bytes.up)} up, ${readableBytes(bytes.down)} down`),
    row('native', readableCapabilities(capabilities)),
    ...(failureRows.length === 0 ? [row('failures', 'none')] : failureRows),
  ].join('')
}

/** `koffi: non-dumpable, sigusr1; typescript: tracer`; a relay of before the table says `unknown`. */
export function readableCapabilities(capabilities: Capabilities | undefined): string {
  const groups = new Map<string, string[]>()
  for (const [name, { implementation }] of Object.entries(capabilities ?? {}))
    groups.set(implementation, [...(groups.get(implementation) ?? []), name])
  const texts = [...groups].map(([implementation, names]) => `${implementation}: ${names.join(', ')}`)
  return texts.join('; ') || 'unknown'
}

/** `999 B`, `1.2 MiB`. */
export function readableBytes(bytes: number): string {
  if (bytes < 1024) return `${bytes} B`
  const power = Math.min(UNITS.length, Math.floor(Math.log2(bytes) / 10))
  return `${(bytes / 1024 ** power).toFixed(1)} ${UNITS[power - 1]}`
}

/** The two largest units that matter: `3 s`, `2 min 5 s`, `1 d 4 h`. */
export function readableDuration(ms: number): string {
  let rest = Math.max(0, Math.floor(ms / 1000))
  const parts: string[] = []
  for (const [unit, seconds] of DURATIONS) {
    const count = Math.floor(rest / seconds)
    rest -= count * seconds
    if (count > 0 || parts.length > 0) parts.push(`${count} ${unit}`)
    if (parts.length === 2) break
  }
  return parts.length === 0 ? '0 s' : parts.join(' ')
}

// A newer relay may know codes that this program does not.
function meaningOf(code: ErrorCode): string {
  return Object.hasOwn(ERROR_CODES, code) ? ERROR_CODES[code].meaning : ''
}

const UNITS = ['KiB', 'MiB', 'GiB', 'TiB']
const DURATIONS = [
  ['d', 86_400],
  ['h', 3_600],
  ['min', 60],
  ['s', 1],
] as const
