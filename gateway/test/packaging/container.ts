/**
 * Runs an image's words in its root: a mount namespace of its own with /proc and /dev, the image's user, and of the
 * machine only the network, where the gateway is.
 */
import { chownSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { within } from '../../../dist-test/support/deadline.js'
import type { Ended } from '../e2e/processes.js'
import type { Sandbox } from '../e2e/sandbox.js'
import type { World } from '../e2e/world.js'
import type { Image } from './image.js'

/** Runs words in the image, told of the gateway as a container would be, and with a token in /run/ccr. */
export async function runInside(
  world: World,
  sandbox: Sandbox,
  image: Image,
  words: readonly string[],
): Promise<Ended> {
  const { folder, user } = image
  const session = join(folder, 'run/ccr')
  for (const place of ['proc', 'dev', 'etc', 'run/ccr']) mkdirSync(join(folder, place), { recursive: true })
  mkdirSync(join(folder, 'tmp'), { recursive: true, mode: 0o1777 })
  chownSync(session, user, user)
  sandbox.issueToken(join(session, 'session_token'))
  chownSync(join(session, 'session_token'), user, user)
  writeFileSync(join(folder, GATEWAY_CA), readFileSync(world.organisation.gatewayCaFile), { mode: 0o644 })

  const { UPSTREAMPROXY_TOKEN_FILE: _, ...told } = sandbox.env
  const env = { ...told, ...image.env, UPSTREAMPROXY_GATEWAY_CA: GATEWAY_CA }
  const inside = ['chroot', `--userspec=${user}:${user}`, folder, ...words]
  const { ended } = sandbox.startDirectly(['/usr/bin/unshare', '--mount', ...MOUNTING, folder, ...inside], {
    env,
  })
  return within(ended, `the end of ${words.join(' ')}`, RUN_MS)
}

// Its mounts are its own, and end with it. PATH is the container's, so the programs are named by theirs here.
const MOUNTING = [
  '/bin/sh',
  '-c',
  'PATH=$PATH:/usr/bin:/usr/sbin:/bin:/sbin; mount --rbind /proc "$0/proc" && mount --rbind /dev "$0/dev" && exec "$@"',
]
const GATEWAY_CA = '/etc/gateway-ca.pem'
const RUN_MS = 60_000
