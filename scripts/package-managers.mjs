// The package managers that the tests install this package with, and the programs that judge what is packed, from the
// registry, into .cache/package-managers. Not among the dependencies: nobody who only builds and tests needs them.
// Exact versions: what they say to an install is compared, and a new version may say it in other words.
//   node scripts/package-managers.mjs          installs what is missing (CI does; by hand it is up to you)
import { fetchPrograms } from './registry-cache.mjs'

const npm = (version) => ({ package: 'npm', version, program: 'bin/npm-cli.js' })

fetchPrograms('package-managers', {
  // What comes with Node 20 and 22, and with their images.
  'npm-10': npm('10.9.9'),
  'npm-11': npm('11.21.2'),
  'npm-12': npm('12.2.0'),
  'pnpm-11': { package: 'pnpm', version: '11.28.11', program: 'bin/pnpm.mjs' },
  'pnpm-12': {
    package: `@pnpm/exe.${process.platform}-${process.arch}`,
    version: '12.21.0',
    program: 'pnpm',
    check: ['--version'],
  },
  'yarn-1': { package: 'yarn', version: '1.22.22', program: 'bin/yarn.js' },
  'yarn-4': { package: '@yarnpkg/cli-dist', version: '4.18.1', program: 'bin/yarn.js' },
  publint: { package: 'publint', version: '0.3.25', program: 'src/cli.js' },
  attw: { package: '@arethetypeswrong/cli', version: '0.18.5', program: 'dist/index.js' },
})
