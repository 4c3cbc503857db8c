/** Listening and accepting by the addon. */
import { spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { closeSync, readFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import * as net from 'node:net'
import { constants } from 'node:os'
import { fileURLToPath } from 'node:url'
import t, { type Test } from 'tap'
import type { SystemCallError } from '#src/platform/process-control.js'
import type { LoopbackListener } from '#src/platform/stream-socket.js'
import { caught } from '../support/caught.js'
import { eventually, pause, within } from '../support/deadline.js'
import { nativeSockets, needsSockets } from './accepted.js'

const LISTEN = '0A'
const TIME_WAIT = '06'
const [O_NONBLOCK, O_CLOEXEC] = [0o4000, 0o2000000]
const [IPPROTO_TCP, TCP_NODELAY] = [6, 1]

function test(title: string, run: (t: Test) => Promise<void>): void {
  t.test(title, { ...needsSockets, timeout: 60_000 }, run)
}

test('it listens on 127.0.0.1 and on nothing else', async (t) => {
  const listener = listening(t, () => undefined)
  t.ok(listener.port > 0 && listener.port < 65536, `${listener.port}`)
  t.strictSame(socketsOf(listener.port), [{ address: '127.0.0.1', state: LISTEN }])
  const experiment = net.createServer().listen(0)
  await once(experiment, 'listening')
  const { port } = experiment.address() as net.AddressInfo
  t.notMatch(socketsOf(port), [{ address: '127.0.0.1' }], 'the experiment can fail')
  experiment.close()
  listener.close()
  t.strictSame(socketsOf(listener.port), [], 'closed at once')
  listener.close()
})

test('a port that is taken is EADDRINUSE, and is free again when its listener is closed', async (t) => {
  const first = listening(t, () => undefined)
  const error = caught(() => listening(t, () => undefined, { port: first.port }))
  const { EADDRINUSE: errno } = constants.errno
  t.match(error, { constructor: Error, code: 'EADDRINUSE', errno, syscall: 'bind', message: /EADDRINUSE/ })
  first.close()
  const second = listening(t, () => undefined, { port: first.port })
  t.equal(second.port, first.port)
})

test('a port whose connections linger can be taken again (SO_REUSEADDR)', async (t) => {
  let descriptor = -1
  const first = listening(t, (accepted) => {
    descriptor = accepted
  })
  const client = await connect(t, first.port)
  await eventually(() => descriptor >= 0, 'the connection')
  // Who ends a connection first is left with what lingers.
  closeSync(descriptor)
  client.resume().end()
  await once(client, 'close')
  first.close()
  await eventually(() => statesOf(first.port).includes(TIME_WAIT), 'a connection that lingers')
  t.equal(listening(t, () => undefined, { port: first.port }).port, first.port)
})

test('nonsense is a TypeError', async (t) => {
  const Listener = nativeSockets().LoopbackListener as unknown as new (...args: unknown[]) => LoopbackListener
  const options = { onConnection: () => undefined, onFailed: () => undefined }
  for (const args of [
    [],
    [0],
    [0, 1],
    [0, 1, null],
    ['0', 1, options],
    [-1, 1, options],
    [65536, 1, options],
    [Number.NaN, 1, options],
    [0, -1, options],
    [0, Number.POSITIVE_INFINITY, options],
    [0, '1', options],
  ])
    t.throws(() => new Listener(...args), TypeError, JSON.stringify(args))
  t.throws(() => (Listener as unknown as () => void)(), TypeError, 'without new')
  const listener = listening(t, () => undefined)
  const { StreamSocket } = nativeSockets()
  t.throws(() => listener.close.call({} as LoopbackListener), TypeError, 'a foreign receiver')
  t.throws(() => StreamSocket.prototype.destroy.call(listener), TypeError, 'one of the other class')
})

test('what is accepted is non-blocking, not inherited, and sends small writes at once', async (t) => {
  const { getsockopt } = libc()
  let descriptor = -1
  const listener = listening(t, (accepted) => {
    descriptor = accepted
  })
  const client = await connect(t, listener.port)
  await eventually(() => descriptor >= 0, 'the connection')
  t.teardown(() => closeSync(descriptor))
  const flags = /^flags:\s*([0-7]+)$/m.exec(readFileSync(`/proc/self/fdinfo/${descriptor}`, 'utf8'))![1]!
  t.equal(Number.parseInt(flags, 8) & O_NONBLOCK, O_NONBLOCK)
  t.equal(Number.parseInt(flags, 8) & O_CLOEXEC, O_CLOEXEC)
  t.equal(getsockopt(descriptor, IPPROTO_TCP, TCP_NODELAY), 1)
  const plain = (client as unknown as { _handle: { fd: number } })._handle.fd
  t.equal(getsockopt(plain, IPPROTO_TCP, TCP_NODELAY), 0, 'the experiment can fail')
})

test('a burst of 2,000 connections is accepted and served whole', async (t) => {
  const { StreamSocket, readArena } = nativeSockets()
  readArena()
  let accepted = 0
  const listener = listening(t, (descriptor) => {
    accepted += 1
    // An echo of one byte, then the end.
    const { bytes, offset } = readArena()
    const socket = new StreamSocket(descriptor, {
      adopt: true,
      maxQueuedBytes: 1024,
      onRead(count) {
        if (count === 0) return
        socket.write(bytes.subarray(offset, offset + count))
        socket.end()
      },
      onClosed: () => socket.destroy(),
      onFailed: (error) => t.fail(error.message),
    })
    socket.readStart()
  })
  const answers = await within(
    Promise.all(
      Array.from({ length: 2000 }, async (_, i) => {
        const client = net.connect(listener.port, '127.0.0.1')
        client.write(Buffer.from([i % 256]))
        const [answer] = (await once(client, 'data')) as [Buffer]
        client.end()
        return answer.equals(Buffer.from([i % 256]))
      }),
    ),
    '2,000 echoes',
    30_000,
  )
  t.equal(answers.filter((right) => right).length, 2000)
  t.equal(accepted, 2000)
})

test('what waits to be accepted is taken in turns with what is open already', async (t) => {
  let [turn, accepted] = [0, 0]
  const perTurn = new Map<number, number>()
  const listener = listening(t, (descriptor) => {
    accepted += 1
    perTurn.set(turn, (perTurn.get(turn) ?? 0) + 1)
    closeSync(descriptor)
  })
  // This loop stands still until all of them wait.
  const script = `let connected = 0
    for (let i = 0; i < 200; i++) require('net').connect(${listener.port}, '127.0.0.1', () => {
      if (++connected === 200) process.exit()
    })`
  t.equal(spawnSync(process.execPath, ['-e', script], { env: { PATH: process.env['PATH'] } }).status, 0)
  let immediate = setImmediate(function next() {
    turn += 1
    immediate = setImmediate(next)
  })
  t.teardown(() => clearImmediate(immediate))
  await eventually(() => accepted === 200, '200 connections')
  const most = Math.max(...perTurn.values())
  t.ok(most > 1 && most <= 32, `${most} in a turn`)
})

test('closed inside onConnection, it accepts no more', async (t) => {
  let accepted = 0
  const listener = listening(t, (descriptor) => {
    accepted += 1
    closeSync(descriptor)
    listener.close()
    listener.resume()
    listener.unref()
  })
  const clients = Array.from({ length: 10 }, () => net.connect(listener.port, '127.0.0.1'))
  const ends = await within(
    Promise.all(
      clients.map(
        (client) =>
          new Promise((resolve) => {
            client.on('error', () => undefined)
            client.on('close', resolve).resume()
          }),
      ),
    ),
    'the end of all',
  )
  t.equal(ends.length, 10)
  t.equal(accepted, 1)
  t.strictSame(listenersOf(listener.port), [])
})

test('so many connections as the backlog says wait to be accepted, and one', async (t) => {
  for (const backlog of [1, 6]) {
    const listener = listening(t, (descriptor) => closeSync(descriptor), { backlog })
    // This loop stands still meanwhile, so that nothing is accepted.
    const script = `let connected = 0
      for (let i = 0; i < 12; i++) require('net').connect(${listener.port}, '127.0.0.1', () => connected++)
      setTimeout(() => { console.log(connected); process.exit() }, 400)`
    const { stdout, stderr } = spawnSync(process.execPath, ['-e', script], {
      encoding: 'utf8',
      env: { PATH: process.env['PATH'] },
    })
    t.equal(stdout, `${backlog + 1}\n`, stderr)
  }
})

test('out of descriptors it says so once, does not spin, and goes on when it is told to', async (t) => {
  const program = fileURLToPath(new URL('listener-program.js', import.meta.url))
  const words = ['-c', 'ulimit -n 48 && exec "$@"', 'sh', process.execPath, program]
  const child = spawn('sh', words, { env: { PATH: process.env['PATH'] }, stdio: ['pipe', 'pipe', 'inherit'] })
  t.teardown(() => child.kill('SIGKILL'))
  let said = ''
  child.stdout.on('data', (bytes) => (said += bytes))
  const says = async (pattern: RegExp) => {
    await eventually(() => pattern.test(said), `${pattern} in ${said}`)
    return pattern.exec(said)!
  }
  const port = Number((await says(/port (\d+)\n/))[1])
  const clients = await Promise.all(Array.from({ length: 60 }, () => connect(t, port)))
  t.match((await says(/failed (\S+) after (\d+)\n/))[1], 'EMFILE')
  await pause(300)
  child.stdin.write('cpu\n')
  const spent = Number((await says(/cpu (\d+)\n/))[1])
  t.ok(spent < 100, `${spent} ms of CPU`)
  t.equal(said.match(/failed/g)?.length, 1, 'once')
  // Still no descriptor: once more.
  child.stdin.write('resume\n')
  await eventually(() => said.match(/failed EMFILE/g)?.length === 2, 'the same again')
  // The accepted ones are closed, some at a time, as long as there are some.
  child.stdin.write('free\n')
  await says(/accepted 60\n/)
  for (const client of clients)
    await eventually(() => client.closed || client.readableEnded, 'each was served')
  child.stdin.end()
  t.equal((await once(child, 'close'))[0], 0)
})

test('it keeps the process alive, but not after unref', async (t) => {
  const program = fileURLToPath(new URL('listener-program.js', import.meta.url))
  for (const [scenario, outcome] of [
    ['unref', 0],
    ['alive', 'SIGKILL'],
  ] as const) {
    const child = spawn(process.execPath, [program, scenario], { env: { PATH: process.env['PATH'] } })
    t.teardown(() => child.kill('SIGKILL'))
    const closed = once(child, 'close')
    await once(child.stdout, 'data')
    if (outcome !== 0) {
      await pause(300)
      t.equal(child.exitCode, null, 'it lives on')
      child.kill('SIGKILL')
    }
    const [status, signal] = await within(closed, 'its end')
    t.equal(signal ?? status, outcome, scenario)
  }
})

function listening(
  t: Test,
  onConnection: (descriptor: number) => void,
  { port = 0, backlog = 1024 } = {},
): LoopbackListener {
  const { LoopbackListener } = nativeSockets()
  const onFailed = (error: SystemCallError) => t.fail(error.message)
  const listener = new LoopbackListener(port, backlog, { onConnection, onFailed })
  t.teardown(() => listener.close())
  return listener
}

async function connect(t: Test, port: number): Promise<net.Socket> {
  const client = net.connect(port, '127.0.0.1')
  t.teardown(() => client.destroy())
  client.on('error', () => undefined)
  await within(once(client, 'connect'), 'a connection')
  return client.resume()
}

/** What this machine's kernel has with that local port, by either protocol (proc_net_tcp(5)). */
function socketsOf(port: number): { address: string; state: string }[] {
  const rows = ['tcp', 'tcp6'].flatMap((name) => {
    try {
      return readFileSync(`/proc/net/${name}`, 'utf8').trim().split('\n').slice(1)
    } catch {
      return [] // no IPv6 on this machine
    }
  })
  const suffix = `:${port.toString(16).toUpperCase().padStart(4, '0')}`
  return rows
    .map((row) => row.trim().split(/\s+/))
    .filter(([, local]) => local!.endsWith(suffix))
    .map(([, local, , state]) => ({ address: addressOf(local!), state: state! }))
}

function listenersOf(port: number): string[] {
  return statesOf(port).filter((state) => state === LISTEN)
}

function statesOf(port: number): string[] {
  return socketsOf(port).map(({ state }) => state)
}

// Four bytes as a number of this machine's order; anything longer is IPv6.
function addressOf(local: string): string {
  const hex = local.split(':')[0]!
  if (hex.length !== 8) return `IPv6 ${hex}`
  return [...Buffer.from(hex, 'hex').reverse()].join('.')
}

function libc() {
  const koffi = createRequire(import.meta.url)('koffi')
  const call = koffi.load(null).func('getsockopt', 'int', ['int', 'int', 'int', 'void *', 'void *'])
  return {
    getsockopt(descriptor: number, level: number, name: number): number {
      const [value, length] = [Buffer.alloc(4), Buffer.from(Uint32Array.of(4).buffer)]
      if (call(descriptor, level, name, value, length) !== 0) throw new Error('getsockopt')
      return value.readInt32LE()
    },
  }
}
