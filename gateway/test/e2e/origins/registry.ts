/** An npm registry with one package in it, whose tarball is made on the spot. Without credentials it answers 401. */
import { createHash } from 'node:crypto'
import { gzipSync } from 'node:zlib'
import type { Test } from 'tap'
import { type Origin, startOrigin } from './origin.js'

export interface RegistryOptions {
  readonly certPem: string
  readonly keyPem: string
  /** the Authorization header that lets a client in */
  readonly authorization: string
  /** `https://registry.test`: where clients find it, without the port */
  readonly base: string
}

/** The one package: `require('hello-from-the-registry')` is `'hello from the registry'`. */
export const PACKAGE = { name: 'hello-from-the-registry', version: '1.2.3' }

export async function startRegistry(t: Test, options: RegistryOptions): Promise<Origin> {
  const tarball = gzipSync(
    tarOf({
      'package/package.json': JSON.stringify({ ...PACKAGE, main: 'index.js' }),
      'package/index.js': "module.exports = 'hello from the registry'\n",
    }),
  )
  const tarballPath = `/${PACKAGE.name}/-/${PACKAGE.name}-${PACKAGE.version}.tgz`
  const origin: Origin = await startOrigin(t, options, async (request, response, { path }) => {
    if (request.headers.authorization !== options.authorization) return void response.writeHead(401).end()
    if (path === tarballPath) return void response.end(tarball)
    if (path !== `/${PACKAGE.name}`) return void response.writeHead(404).end('{}')
    const dist = {
      tarball: `${options.base}:${origin.port}${tarballPath}`,
      integrity: `sha512-${createHash('sha512').update(tarball).digest('base64')}`,
    }
    response.setHeader('content-type', 'application/json')
    response.end(
      JSON.stringify({
        name: PACKAGE.name,
        'dist-tags': { latest: PACKAGE.version },
        versions: { [PACKAGE.version]: { ...PACKAGE, dist } },
      }),
    )
  })
  return origin
}

// POSIX ustar: a header of 512 bytes and the content padded to 512, for each file; two empty blocks at the end.
function tarOf(files: Record<string, string>): Buffer {
  const blocks = Object.entries(files).flatMap(([name, text]) => {
    const content = Buffer.from(text)
    const header = Buffer.alloc(512)
    header.write(name, 0)
    header.write('0000644\0', 100)
    header.write('0000000\0', 108)
    header.write('0000000\0', 116)
    header.write(`${content.length.toString(8).padStart(11, '0')}\0`, 124)
    header.write(`${Math.floor(Date.now() / 1000).toString(8)}\0`, 136)
    header.write('        0', 148)
    header.write('ustar\x0000', 257)
    const sum = header.reduce((total, byte) => total + byte, 0)
    header.write(`${sum.toString(8).padStart(6, '0')}\0 `, 148)
    return [header, content, Buffer.alloc((512 - (content.length % 512)) % 512)]
  })
  return Buffer.concat([...blocks, Buffer.alloc(1024)])
}
