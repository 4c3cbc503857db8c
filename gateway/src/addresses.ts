/**
 * Which addresses the gateway may connect to.
 *
 * Rule 1: what is not a public unicast address is refused unless the configuration allows it: loopback, private,
 *         link-local (the cloud's metadata service among them), shared, multicast, reserved, documentation.
 * Rule 2: in IPv6, 2000::/3 is the only space in use for public hosts: all else is refused, and inside it what embeds
 *         or tunnels other addresses.
 * Rule 3: an address that carries an IPv4 address is refused or allowed by both.
 * Rule 4: the gateway's own listener is refused whatever is allowed.
 */
import { BlockList, isIP } from 'node:net'
import { networkInterfaces } from 'node:os'

export interface AddressRange {
  readonly address: string
  readonly prefix: number
  readonly family: 'ipv4' | 'ipv6'
}

/** A listener of the gateway's own. */
export interface OwnListener {
  readonly address: string
  readonly port: number
}

export type AddressVerdict = 'allowed' | 'address-refused' | 'gateway-itself'

/** Decides on addresses; takes what `allowAddresses` lists. */
export class Addresses {
  readonly #allowed = new BlockList()
  readonly #own: () => OwnListener | undefined

  constructor(allowed: readonly AddressRange[], own: () => OwnListener | undefined = () => undefined) {
    for (const { address, prefix, family } of allowed) this.#allowed.addSubnet(address, prefix, family)
    this.#own = own
  }

  /** What may be done with an address and port; text that is no plain address is refused. */
  verdict(address: string, port: number): AddressVerdict {
    const version = address.includes('%') ? 0 : isIP(address)
    if (version === 0) return 'address-refused'
    if (this.#isOwn(address, port)) return 'gateway-itself'
    const embedded = version === 6 ? embeddedIPv4(address) : undefined
    if (embedded !== undefined && !this.#passes(embedded, 4)) return 'address-refused'
    return this.#passes(address, version) ? 'allowed' : 'address-refused'
  }

  #passes(address: string, version: number): boolean {
    const family = version === 6 ? 'ipv6' : 'ipv4'
    if (this.#allowed.check(address, family)) return true
    if (version === 4) return !REFUSED.check(address, family)
    return PUBLIC_IPV6.check(address, family) && !REFUSED.check(address, family)
  }

  #isOwn(address: string, port: number): boolean {
    const own = this.#own()
    if (own === undefined || port !== own.port) return false
    const list = new BlockList()
    const add = (text: string) => list.addAddress(text, isIP(text) === 6 ? 'ipv6' : 'ipv4')
    // To connect to the unspecified address is to connect to this machine.
    for (const text of ['0.0.0.0', '::']) add(text)
    if (own.address === '0.0.0.0' || own.address === '::') {
      list.addSubnet('127.0.0.0', 8, 'ipv4')
      add('::1')
      for (const { address: local } of Object.values(networkInterfaces()).flatMap((it) => it ?? []))
        add(local)
    } else {
      add(own.address)
    }
    const version = isIP(address) === 6 ? 'ipv6' : 'ipv4'
    const embedded = version === 'ipv6' ? embeddedIPv4(address) : undefined
    return list.check(address, version) || (embedded !== undefined && list.check(embedded, 'ipv4'))
  }
}

// The IPv4 address inside a mapped, compatible, translated (NAT64) or 6to4 address.
function embeddedIPv4(address: string): string | undefined {
  const groups = ipv6Groups(address)
  const [a, b] = groups
  const dotted = (high: number, low: number) => [high >> 8, high & 0xff, low >> 8, low & 0xff].join('.')
  if (a === 0x2002) return dotted(groups[1]!, groups[2]!)
  const zeros = (from: number, to: number) => groups.slice(from, to).every((group) => group === 0)
  const last = dotted(groups[6]!, groups[7]!)
  if (a === 0x64 && b === 0xff9b) return last
  if (zeros(0, 5) && (groups[5] === 0xffff || groups[5] === 0)) return zeros(5, 7) ? undefined : last
  if (zeros(0, 4) && groups[4] === 0xffff && groups[5] === 0) return last
  return undefined
}

function ipv6Groups(address: string): number[] {
  // The URL parser writes every form, a dotted end included, as hexadecimal groups (RFC 5952).
  const text = new URL(`http://[${address}]/`).hostname.slice(1, -1)
  const [head = '', tail] = text.split('::')
  const numbers = (part: string) =>
    part === '' ? [] : part.split(':').map((group) => Number.parseInt(group, 16))
  const front = numbers(head)
  const back = tail === undefined ? [] : numbers(tail)
  return [...front, ...new Array<number>(8 - front.length - back.length).fill(0), ...back]
}

const PUBLIC_IPV6 = blockList(['2000::/3'])

// The special-purpose registries of IANA (RFC 6890 and its successors), and one cloud's metadata on a public address.
const REFUSED = blockList([
  '0.0.0.0/8',
  '10.0.0.0/8',
  '100.64.0.0/10',
  '127.0.0.0/8',
  '168.63.129.16/32',
  '169.254.0.0/16',
  '172.16.0.0/12',
  '192.0.0.0/24',
  '192.0.2.0/24',
  '192.31.196.0/24',
  '192.52.193.0/24',
  '192.88.99.0/24',
  '192.168.0.0/16',
  '192.175.48.0/24',
  '198.18.0.0/15',
  '198.51.100.0/24',
  '203.0.113.0/24',
  '224.0.0.0/4',
  '240.0.0.0/4',
  '2001::/23',
  '2001:db8::/32',
  '2002::/16',
  '2620:4f:8000::/48',
  '3fff::/20',
])

function blockList(ranges: readonly string[]): BlockList {
  const list = new BlockList()
  for (const range of ranges) {
    const [address, prefix] = range.split('/')
    list.addSubnet(address!, Number(prefix), address!.includes(':') ? 'ipv6' : 'ipv4')
  }
  return list
}
