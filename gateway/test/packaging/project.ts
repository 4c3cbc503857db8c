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
  for (const file of ['package.json', MAIN]) copyFileSync(join(example, file), join(folder, file))
  useTarball(folder, tarball)
  return folder
}

/** Has the package.json of a folder ask for the tarball, of which it gets a copy. */
export function useTarball(folder: string, tarball: string): void {
  // Named by its content: package managers that have seen a name and a version take the package from their caches.
  const name = `upstreamproxy-${sha256(tarball).slice(0, 12)}.tgz`
  copyFileSync(tarball, join(folder, name))
  const file = join(folder, 'package.json')
  const manifest = JSON.parse(readFileSync(file, 'utf8'))
  const dependencies = { ...manifest.dependencies, upstreamproxy: `file:./${name}` }
  // Without the first three, some remark on their absence.
  const about = { name: 'project', version: '1.0.0', license: 'MIT' }
  writeFileSync(file, JSON.stringify({ ...about, ...manifest, dependencies }, null, 2))
}

/** What `upstreamproxy --version --json` prints, as far as the tests look. */
export interface VersionDocument {
  readonly runtime: { readonly name: string; readonly version: string }
  readonly platform: string
  readonly capabilities: Readonly<Record<string, { readonly implementation: string; readonly why: string }>>
}

/** Where the package lies whose addon a process has loaded, as the process sees it; `''` where it has loaded none. */
export function packageOf({ capabilities }: VersionDocument): string {
  const { why } = capabilities['non-dumpable']!
  return /^(.*)\/prebuilds\/[\w-]+\/upstreamproxy\.node /.exec(why)?.[1] ?? ''
}

/**
 * Fails unless the process is made non-dumpable by an addon below `folder`, in a package that is, file by file, the one
 * in `unpacked`. The process may have had another `root`.
 */
export function assertAddonBelow(
  t: Test,
  printed: string,
  { folder, unpacked, root = '' }: { folder: string; unpacked: string; root?: string },
): VersionDocument {
  const document = JSON.parse(printed) as VersionDocument
  const { implementation, why } = document.capabilities['non-dumpable']!
  t.equal(implementation, 'addon', why)
  const place = packageOf(document)
  t.ok(place.startsWith(join(folder, '/')), why)
  // Some package managers put files of their own beside them.
  t.same(
    filesBelow(unpacked).filter((file) => sha256(join(root, place, file)) !== sha256(join(unpacked, file))),
    [],
    'files that differ from what was packed',
  )
  return document
}

function sha256(file: string): string {
  return createHash('sha256').update(readFileSync(file)).digest('hex')
}
