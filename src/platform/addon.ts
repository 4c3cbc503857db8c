/**
 * Finds and loads the native addon.
 *
 * Rule 1: it comes from this package's own folder, found from this file's own place, and from nowhere else (invariant
 *         9): no variable, no working directory, nothing beside the executable has a say.
 * Rule 2: what is absent falls through; what is present and will not load falls through too, and is reported.
 */
import { statSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import type { NativeFraming } from './framing.js'
import type { ProcessControl } from './process-control.js'
import type { NativeSockets } from './stream-socket.js'
import { reasonOf } from './system-call-error.js'

/** What the addon exports. */
export interface Addon {
  /** of these exports: INTERFACE */
  readonly version: string
  /** absent off Linux */
  readonly process?: ProcessControl
  readonly framing?: NativeFraming
  /** absent on Bun */
  readonly sockets?: NativeSockets
}

export interface AddonLookup {
  /** undefined where none was found that loads */
  readonly addon?: Addon
  /** of the addon */
  readonly path?: string
  /** files that are there and would not load */
  readonly broken: readonly { readonly path: string; readonly reason: string }[]
}

/** Looks once for each `folder` (default: this package's), and remembers. Never throws. */
export function loadAddon(folder: URL = PACKAGE): AddonLookup {
  const known = lookups.get(folder.href)
  if (known !== undefined) return known
  const lookup = look(folder)
  lookups.set(folder.href, lookup)
  return lookup
}

/** Files that are there and will not load, in one line; empty where there are none. */
export function brokenText({ broken }: AddonLookup): string {
  return broken.map(({ path, reason }) => `${path}: ${reason}`).join('; ')
}

/** What a native engine stands on. */
export interface NativeDataPath {
  readonly framing: NativeFraming
  readonly sockets: NativeSockets
}

export interface DataPathLookup {
  /** undefined where it is not to be had here */
  readonly dataPath?: NativeDataPath
  readonly path?: string
  /** of what loaded, and could not carry bytes: Bun lets no addon use its loop */
  readonly hasAddon: boolean
  /** files that would not load, as brokenText says it */
  readonly broken: string
}

/** Whether the addon can carry a relay's bytes here. Never throws. */
export function nativeDataPath(): DataPathLookup {
  const lookup = loadAddon()
  const { framing, sockets } = lookup.addon ?? {}
  return {
    ...(framing && sockets && { dataPath: { framing, sockets } }),
    ...(lookup.path !== undefined && { path: lookup.path }),
    hasAddon: lookup.addon !== undefined,
    broken: brokenText(lookup),
  }
}

function look(folder: URL): AddonLookup {
  const broken: { path: string; reason: string }[] = []
  for (const place of PLACES) {
    const path = fileURLToPath(new URL(place, folder))
    try {
      if (statSync(path, { throwIfNoEntry: false }) === undefined) continue
      const loaded = { exports: {} as Partial<Addon> }
      // Not require(): that one asks the host's hooks.
      process.dlopen(loaded, path)
      const { version } = loaded.exports
      if (version !== INTERFACE)
        throw new Error(`its interface is ${version ?? 'unknown'}, and not ${INTERFACE}`)
      return { addon: loaded.exports as Addon, path, broken }
    } catch (error) {
      // The loader's own text begins with the path.
      broken.push({ path, reason: reasonOf(error).replace(`${path}: `, '') })
    }
  }
  return { broken }
}

// Counts up where the exports change: what was built before may still lie in build/Release.
const INTERFACE = '2'
const lookups = new Map<string, AddonLookup>()
// dist/platform/addon.js → the package
const PACKAGE = new URL('../../', import.meta.url)
const PLACES = [
  `prebuilds/${process.platform}-${process.arch}/upstreamproxy.node`,
  // In a checkout: what `npm run build:native` made.
  'build/Release/upstreamproxy.node',
]
