/** The prebuild for arm64, loaded by a Node for arm64 under an emulator: real code, real system calls, another processor. */
import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { needing, output, ROOT } from './tools.js'

const EMULATOR = ['-L', '/usr/aarch64-linux-gnu']
const RUNTIME = join(ROOT, '.cache/runtimes/node-22-arm64/program')

t.test('a Node for arm64 has everything by the addon', needsArm64(), async (t) => {
  const { platform, capabilities } = JSON.parse(arm64([join(ROOT, 'dist/cli.js'), '--version', '--json']))
  t.equal(platform, 'linux-arm64')
  t.equal(capabilities['non-dumpable'].implementation, 'addon')
  t.equal(capabilities.sigusr1.implementation, 'addon')
})

t.test('there it frames, decodes and writes to sockets', needsArm64(), async (t) => {
  t.equal(arm64(['-e', PROGRAM]), 'true 82870403 hello closed 3000000')
})

// Every byte of a transfer that does not fit into the kernel's buffers arrives.
const PROGRAM = `
  const { process: control, framing, sockets: { StreamSocket: SocketWriter } } = require(${JSON.stringify(join(ROOT, 'prebuilds/linux-arm64/upstreamproxy.node'))})
  const net = require('node:net')
  control.setDumpable(false)
  const arena = Buffer.alloc(32)
  arena.write('hello', 20)
  const start = framing.encodeFrameInto(arena, 20, 5, Buffer.from([4, 3, 2, 1]).readInt32LE())
  const decoder = framing.createDecoder({ maxMessageBytes: 1000 })
  decoder.push(Buffer.from('82070a0568656c6c6f', 'hex'))
  const said = [!control.isDumpable(), arena.toString('hex', start, start + 4), decoder.takePayload().join('')]
  const server = net.createServer((socket) => {
    const done = () => { said.push('closed'); writer.destroy() }
    const writer = new SocketWriter(socket._handle.fd, { maxQueuedBytes: 3e6, onClosed: done })
    writer.write([Buffer.alloc(3e6, 'x')])
    writer.end()
    socket.on('end', () => server.close())
  })
  server.listen(0, '127.0.0.1', () => {
    let bytes = 0
    const client = net.connect(server.address().port, '127.0.0.1')
    client.on('data', (piece) => { bytes += piece.length })
    server.on('close', () => process.stdout.write([...said, bytes].join(' ')))
  })`

function arm64(args: readonly string[]): string {
  return output('qemu-aarch64-static', [...EMULATOR, readFileSync(RUNTIME, 'utf8'), ...args])
}

function needsArm64(): { skip: string | false } {
  const tools = needing('qemu-aarch64-static')
  if (tools.skip || process.env['CI'] || existsSync(RUNTIME)) return tools
  return { skip: 'node-22-arm64 is not installed: node scripts/runtimes.mjs' }
}
