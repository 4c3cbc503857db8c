import { cpSync, existsSync, renameSync } from 'node:fs'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { needingPrograms, programOf } from '../../../dist-test/support/cached-program.js'
import { matchWhole } from '../../../dist-test/support/match-whole.js'
import { runtimeProgram } from '../../../dist-test/support/runtimes.js'
import { filesBelow, packTarball, unpackTarball } from '../../../dist-test/support/tarball.js'
import { startWorld } from '../e2e/world.js'
import { runInside } from './container.js'
import { BUILDERS, buildImage, type Image } from './image.js'
import { assertAddonBelow, MAIN } from './project.js'
import {
  ARM64,
  CC,
  MUSL,
  needingRoots,
  put,
  putArm64,
  putMusl,
  putMuslNode,
  putProgram,
  putRoots,
  QEMU,
} from './userland.js'

const CURL = '/usr/bin/curl'
const PACKAGE = '/app/node_modules/upstreamproxy'
const node22 = runtimeProgram('node-22')
const nodeArm64 = runtimeProgram('node-22-arm64')
const [pnpmMusl, bunMusl] = [runtimeProgram('pnpm-musl'), runtimeProgram('bun-musl')]
const world = await startWorld(t)
// For what makes no tunnel.
const idle = world.sandbox()
const tarball = packTarball(t)
const unpacked = unpackTarball(tarball)

const slim = { ...needingPrograms(...BUILDERS), ...needingRoots(CURL) }
t.test('Dockerfile.slim: on glibc, curl gets through behind the entrypoint', slim, async (t) => {
  const image = await buildImage(t, 'Dockerfile.slim', {
    tarball,
    base(root) {
      putProgram(root, programOf(node22), '/usr/local/bin/node')
      // The first line of every program that npm links asks env(1) for node.
      putProgram(root, '/usr/bin/env', '/usr/bin/env')
      putProgram(root, CURL, CURL)
      putRoots(root)
    },
  })
  const url = world.url('api', '/packaging/slim')
  await assertTunnel(t, image, [...image.entrypoint, 'curl', '-sS', '--fail', url], '/packaging/slim')
  await assertAddon(t, image, ['upstreamproxy'])
})

const distroless = { ...needingPrograms(...BUILDERS), ...needingRoots() }
t.test(
  'Dockerfile.distroless: with nothing but Node and its libraries, the program gets through',
  distroless,
  async (t) => {
    const image = await buildImage(t, 'Dockerfile.distroless', {
      tarball,
      base(root) {
        putProgram(root, programOf(node22), '/nodejs/bin/node')
        putRoots(root)
      },
    })
    const programs = filesBelow(image.folder).filter(
      (file) => !file.startsWith('app/') && !/\.so(?:\.|$)/.test(file),
    )
    t.same(
      programs.filter((file) => !file.startsWith('etc/ssl/')),
      ['nodejs/bin/node'],
    )
    const url = world.url('api', '/packaging/distroless')
    const { err } = await assertTunnel(t, image, [...image.entrypoint, url], '/packaging/distroless')
    t.match(err, /relay on port \d+/)
    await assertAddon(t, image, ['/nodejs/bin/node', `${PACKAGE}/dist/cli.js`])
  },
)

const musl = { ...needingPrograms(...BUILDERS, pnpmMusl, bunMusl), ...needingRoots(MUSL, CC) }
t.test('Dockerfile.alpine: on musl, Node and Bun get through', musl, async (t) => {
  const image = await buildImage(t, 'Dockerfile.alpine', {
    tarball,
    base(root) {
      putMusl(t, root, programOf(node22))
      putMuslNode(root, programOf(pnpmMusl), '/usr/local/bin/node')
      put(root, programOf(bunMusl), '/usr/local/bin/bun', 0o755)
      putRoots(root)
    },
  })
  t.notOk(
    filesBelow(image.folder).some((file) => /libc\.so\.6|libc-2/.test(file)),
    'no glibc in it',
  )
  const maps = await inside(image, ['node', '-p', 'require("fs").readFileSync("/proc/self/maps", "latin1")'])
  t.match(maps.out, MUSL)
  const node = await assertAddon(t, image, ['node', `${PACKAGE}/dist/cli.js`])
  t.equal(node.runtime.name, 'node')
  const bun = await assertAddon(t, image, ['bun', `${PACKAGE}/dist/cli.js`])
  t.equal(bun.runtime.name, 'bun')

  const addons = join(image.folder, PACKAGE, 'prebuilds')
  renameSync(addons, `${addons}-gone`)
  const without = await inside(image, ['node', `${PACKAGE}/dist/cli.js`, '--version', '--json'])
  t.match(JSON.parse(without.out).capabilities['non-dumpable'], { implementation: 'koffi' }, without.out)
  renameSync(`${addons}-gone`, addons)

  // A client for it to run, with what the client needs: the distroless image's program, which stands for any.
  const client = await buildImage(t, 'Dockerfile.distroless', { tarball, base: () => undefined })
  cpSync(join(client.folder, 'app'), join(image.folder, 'client'), { recursive: true })
  const behind = [...image.entrypoint, 'node', `/client/${MAIN}`]
  await assertTunnel(t, image, [...behind, world.url('api', '/packaging/alpine')], '/packaging/alpine')
  const api = ['bun', `/client/${MAIN}`, world.url('api', '/packaging/musl-bun')]
  const { err } = await assertTunnel(t, image, api, '/packaging/musl-bun')
  t.match(err, /relay on port \d+/)
})

const arm64 = { ...needingPrograms(...BUILDERS, nodeArm64), ...needingRoots(QEMU, ARM64) }
t.test('Dockerfile.distroless: on arm64, emulated, the same program gets through', arm64, async (t) => {
  const image = await buildImage(t, 'Dockerfile.distroless', {
    tarball,
    base(root) {
      putArm64(root)
      put(root, programOf(nodeArm64), '/nodejs/bin/node', 0o755)
    },
  })
  const url = world.url('api', '/packaging/arm64')
  await assertTunnel(t, image, [QEMU, ...image.entrypoint, url], '/packaging/arm64')
  const { platform } = await assertAddon(t, image, [QEMU, '/nodejs/bin/node', `${PACKAGE}/dist/cli.js`])
  t.equal(platform, 'linux-arm64')
})

t.test('nothing of all this shows a secret', (t) => world.assertNoLeaks(t))

function inside(image: Image, words: readonly string[], sandbox = idle) {
  return runInside(world, sandbox, image, words)
}

async function assertTunnel(t: Test, image: Image, words: readonly string[], path: string) {
  const sandbox = world.sandbox()
  const ended = await inside(image, words, sandbox)
  t.equal(ended.status, 0, ended.err.slice(0, 2000))
  t.match(ended.out, `"path":"${path}"`)
  const seen = world.api.requests.filter((request) => request.path === path)
  matchWhole(
    t,
    seen,
    [{ headers: { 'x-api-key': world.organisation.headers.apiKey } }],
    'injected by the gateway',
  )
  t.notOk(existsSync(join(image.folder, 'run/ccr/session_token')), 'the token file is gone')
  await sandbox.audit({ connects: 1, requests: 1 })
  return ended
}

async function assertAddon(t: Test, image: Image, words: readonly string[]) {
  const { status, out, err } = await inside(image, [...words, '--version', '--json'])
  t.equal(status, 0, err.slice(0, 2000))
  return assertAddonBelow(t, out, { folder: '/app', unpacked, root: image.folder })
}
