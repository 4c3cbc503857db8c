/** A user's project: the program of the examples, with this package from its tarball. */
import { createHash } from 'node:crypto'
import { copyFileSync, mkdtempSync, readFileSync, realpathSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Test } from 'tap'
import { CHECKOUT, filesBelow } from '../../../dist-test/support/tarball.js'

/** The file in it that uses the API: `main.js URL`. */
export const MAIN = 'main.js'

/** Makes a folder with nothing installed. It goes with the test. */
export function makeProject(t: Test, tarball: string): string {
  // As a process sees its own folder: what it says of files in it is compared.
  const folder = realpathSync(mkdtempSync(join(tmpdir(), 'upstreamproxy-project-')))
  t.teardown(() => rmSync(folder, { recursive: true, force: true }))
  const example = join(CHECKOUT, 'examples/node-program')
  const manifest = JSON.parse(readFileSync(join(example, 'package.json'), 'utf8'))
  // Named by its content: package managers that have seen a name and a version take the package from their caches.
  const name = `upstreamproxy-${sha256(tarball).slice(0, 12)}.tgz`
  copyFileSync(tarball, join(folder, name))
  copyFileSync(join(example, MAIN), join(folder, MAIN))
  const dependencies = { ...manifest.dependencies, upstreamproxy: `file:./${name}` }
  const about = { name: 'project', version: '1.0.0', license: 'MIT' }
  writeFileSync(
    join(folder, 'package.json'),
    JSON.stringify({ ...about, ...manifest, dependencies }, null, 2),
  )
  return folder
}

/** What `upstreamproxy --version --json` prints, as far as the tests look. */
export interface VersionDocument {
  readonly runtime: { readonly name: string; readonly version: string }
  readonly platform: string
  readonly capabilities: Readonly<Record<string, { readonly implementation: string; readonly why: string }>>
}

/**
 * Fails unless the process is made non-dumpable by an addon below `folder`, in a package that is, file by file, the one
 * in `unpacked`.
 */
export function assertAddonBelow(
  t: Test,
  printed: string,
  { folder, unpacked }: { folder: string; unpacked: string },
): VersionDocument {
  const document = JSON.parse(printed) as VersionDocument
  const { implementation, why } = document.capabilities['non-dumpable']!
  t.equal(implementation, 'addon', why)
  const [, root = ''] = /^(.*)\/prebuilds\/[\w-]+\/upstreamproxy\.node /.exec(why) ?? []
  t.ok(root.startsWith(join(folder, '/')), why)
  // Some package managers put files of their own beside them.
  t.same(
    filesBelow(unpacked).filter((file) => sha256(join(root, file)) !== sha256(join(unpacked, file))),
    [],
    'files that differ from what was packed',
  )
  return document
}

function sha256(file: string): string {
  return createHash('sha256').update(readFileSync(file)).digest('hex')
}
