import { networkInterfaces } from 'node:os'
import t from 'tap'
import { Addresses, type OwnListener } from '#src/addresses.js'
import { addressRange } from '#src/config-values.js'

const addresses = (allowed: string[] = [], own?: OwnListener) =>
  new Addresses(allowed.map(addressRange), () => own)

t.test('only public addresses are connected to', (t) => {
  const none = addresses()
  for (const address of [
    '0.0.0.0',
    '0.1.2.3',
    '10.0.0.1',
    '10.255.255.255',
    '100.64.0.1',
    '100.100.100.200',
    '100.127.255.255',
    '127.0.0.1',
    '127.255.255.255',
    '168.63.129.16',
    '169.254.0.1',
    '169.254.169.254',
    '172.16.0.1',
    '172.31.255.255',
    '192.0.0.1',
    '192.0.0.170',
    '192.0.2.1',
    '192.31.196.1',
    '192.52.193.1',
    '192.88.99.1',
    '192.168.0.1',
    '192.168.255.255',
    '192.175.48.1',
    '198.18.0.1',
    '198.19.255.255',
    '198.51.100.1',
    '203.0.113.1',
    '224.0.0.1',
    '239.255.255.255',
    '240.0.0.1',
    '255.255.255.255',
    '::',
    '::1',
    '::2',
    '0:0:0:0:0:0:0:1',
    '::7f00:1',
    '::127.0.0.1',
    '::8.8.8.8',
    '::ffff:127.0.0.1',
    '::ffff:7f00:1',
    '::FFFF:10.0.0.1',
    '::ffff:169.254.169.254',
    '::ffff:8.8.8.8',
    '::ffff:0:127.0.0.1',
    '64:ff9b::127.0.0.1',
    '64:ff9b::a00:1',
    '64:ff9b::8.8.8.8',
    '64:ff9b:1::1',
    '100::1',
    '100:0:0:1::1',
    '2001::1',
    '2001:0:4136:e378::1',
    '2001:2::1',
    '2001:10::1',
    '2001:20::1',
    '2001:db8::1',
    '2002:7f00:1::',
    '2002:a00:1::1',
    '2002:808:808::1',
    '2620:4f:8000::1',
    '3fff::1',
    '3fff:fff::1',
    '4000::1',
    '5f00::1',
    'fc00::1',
    'fd00::1',
    'fd00:ec2::254',
    'fe80::1',
    'febf::1',
    'fec0::1',
    'ff00::1',
    'ff02::1',
    'ffff::1',
    // Not addresses at all.
    'fe80::1%eth0',
    '127.1',
    '0x7f.0.0.1',
    '0177.0.0.1',
    '2130706433',
    '127.0.0.1.',
    ' 127.0.0.1',
    'localhost',
    '',
    '[::1]',
    '1.1.1.1:80',
    '1.1.1.1/32',
  ]) {
    t.equal(none.verdict(address, 443), 'address-refused', address)
  }
  for (const address of [
    '1.1.1.1',
    '8.8.8.8',
    '9.255.255.255',
    '11.0.0.1',
    '100.63.255.255',
    '100.128.0.1',
    '126.255.255.255',
    '128.0.0.1',
    '168.63.129.17',
    '169.253.255.255',
    '169.255.0.1',
    '172.15.255.255',
    '172.32.0.1',
    '192.0.1.1',
    '192.167.255.255',
    '192.169.0.1',
    '198.17.255.255',
    '198.20.0.1',
    '223.255.255.255',
    '2001:4860:4860::8888',
    '2606:4700:4700::1111',
    '2a00::1',
    '2001:200::1',
    '3ffe::1',
    '2620:4f:8001::1',
  ]) {
    t.equal(none.verdict(address, 443), 'allowed', address)
  }
  t.end()
})

t.test('what the configuration allows is allowed, and nothing beside it', (t) => {
  const some = addresses(['127.0.0.0/8', '10.1.2.3', 'fd00::/8', '64:ff9b::/96'])
  for (const address of [
    '127.0.0.1',
    '127.9.9.9',
    '10.1.2.3',
    'fd12::1',
    '::ffff:127.0.0.1',
    '64:ff9b::8.8.8.8',
    '64:ff9b::127.0.0.1',
  ]) {
    t.equal(some.verdict(address, 443), 'allowed', address)
  }
  for (const address of [
    '10.1.2.4',
    '::1',
    'fe80::1',
    '64:ff9b::10.0.0.1',
    '64:ff9b::169.254.169.254',
    '::ffff:10.1.2.4',
    '::127.0.0.1',
    '2002:7f00:1::',
  ]) {
    t.equal(some.verdict(address, 443), 'address-refused', address)
  }
  const all = addresses(['0.0.0.0/0', '::/0'])
  t.equal(all.verdict('169.254.169.254', 80), 'allowed')
  t.end()
})

t.test('the gateway itself is refused by every name, whatever is allowed', (t) => {
  const everything = ['0.0.0.0/0', '::/0']
  const loopback = addresses(everything, { address: '127.0.0.1', port: 8443 })
  for (const address of [
    '127.0.0.1',
    '0.0.0.0',
    '::',
    '::ffff:127.0.0.1',
    '::ffff:7f00:1',
    '64:ff9b::7f00:1',
    '2002:7f00:1::',
  ]) {
    t.equal(loopback.verdict(address, 8443), 'gateway-itself', address)
  }
  t.equal(loopback.verdict('127.0.0.1', 8444), 'allowed')
  t.equal(loopback.verdict('127.0.0.2', 8443), 'allowed', 'another listener')
  for (const wildcard of ['0.0.0.0', '::']) {
    const everywhere = addresses(everything, { address: wildcard, port: 8443 })
    const local = Object.values(networkInterfaces()).flatMap(
      (them) => them?.map(({ address }) => address) ?? [],
    )
    for (const address of ['127.0.0.1', '127.8.8.8', '::1', '0.0.0.0', ...local]) {
      t.equal(everywhere.verdict(address, 8443), 'gateway-itself', `${address} at ${wildcard}`)
    }
    t.equal(everywhere.verdict('8.8.8.8', 8443), 'allowed')
  }
  t.end()
})
