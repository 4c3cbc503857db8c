/**
 * The relay's own WebSocket against a server that is not of this repository: the `ws` package's, as it comes. By itself the
 * relay takes the native engine; with CONFORMANCE_ENGINE=node the portable one must do the same.
 */
import { createHash, randomBytes } from 'node:crypto'
import { once } from 'node:events'
import t from 'tap'
import { decodeChunk, encodeChunk } from '#src/wire/index.js'
import type { RelayProcess } from '../conformance/relay-process.js'
import { needsSockets } from '../native/accepted.js'
import { eventually, within } from '../support/deadline.js'
import { WsBench } from './ws-bench.js'

const MiB = 1024 * 1024

for (const scheme of ['ws', 'wss'] as const) {
  t.test(`the ws package's server over ${scheme}`, { timeout: 120_000 }, async (t) => {
    const bench = await WsBench.start(t, scheme)

    await t.test(
      'the native engine is what is tried, where nothing else is asked for',
      needsSockets,
      async (t) => {
        t.equal((await bench.relay.status()).engine, process.env['CONFORMANCE_ENGINE'] ?? 'native')
      },
    )

    await t.test(
      '48 MiB each way at once, in messages and fragments of any size, arrive whole',
      async (t) => {
        const { client, socket } = await bench.open()
        const [up, down] = [randomBytes(48 * MiB), randomBytes(48 * MiB)]
        const [upHash, downHash] = [createHash('sha256'), createHash('sha256')]
        let upBytes = 0
        let pongs = 0
        socket.on('message', (message: Buffer, isBinary) => {
          if (!isBinary) t.fail('a text message')
          const payload = decodeChunk(message, 16 * MiB)
          upHash.update(payload)
          upBytes += payload.length
        })
        socket.on('pong', (payload) => {
          pongs += payload.toString() === 'amid' ? 1 : 0
        })
        const sent = client.send(up)
        let pings = 0
        const sending = (async () => {
          for (let at = 0; at < down.length; ) {
            const length = Math.floor(Math.random() ** 4 * 1_500_000)
            const message = encodeChunk(down.subarray(at, at + length))
            at += length
            const cuts =
              Math.random() < 0.5 ? [] : [0.1, 0.1, 0.9].map((part) => Math.floor(part * message.length))
            let from = 0
            for (const cut of cuts) {
              socket.send(message.subarray(from, cut), { fin: false, binary: true })
              // A control frame may come between fragments.
              socket.ping('amid')
              pings += 1
              from = cut
            }
            await new Promise<void>((resolve, reject) =>
              socket.send(message.subarray(from), { binary: true }, (error) =>
                error ? reject(error) : resolve(),
              ),
            )
          }
        })()
        for (let left = down.length; left > 0; ) {
          const piece = await client.inbox.next()
          if (piece === undefined) throw new Error(`${left} bytes short`)
          downHash.update(piece)
          left -= piece.length
        }
        await Promise.all([sent, sending])
        await eventually(() => upBytes === up.length, 'the whole upload')
        t.equal(downHash.digest('hex'), sha256(down))
        t.equal(upHash.digest('hex'), sha256(up))
        // Of pings that come together the last one may be answered alone (RFC 6455 §5.5.3).
        t.ok(pongs > 0 && pongs <= pings, `${pongs} pongs for ${pings} pings`)
        client.end()
        t.equal(await bench.closing(socket), 1000)
        t.equal((await client.rest()).ending, 'fin')
      },
    )

    await t.test('a ping is answered with its own bytes, however many it has', async (t) => {
      const { client, socket } = await bench.open()
      for (const length of [0, 1, 124, 125]) {
        const payload = randomBytes(length)
        const pong = once(socket, 'pong')
        socket.ping(payload)
        t.ok(((await within(pong, 'a pong'))[0] as Buffer).equals(payload), `${length} bytes`)
      }
      client.end()
      t.equal(await bench.closing(socket), 1000)
    })

    await t.test(
      'a client that ends: all it sent, then Close 1000; what was still coming, then FIN',
      async (t) => {
        const { client, socket } = await bench.open()
        const data = randomBytes(3 * MiB)
        const received: Buffer[] = []
        socket.on('message', (message: Buffer) => received.push(decodeChunk(message, 16 * MiB)))
        client.write(data)
        client.end()
        t.equal(await bench.closing(socket), 1000)
        t.ok(Buffer.concat(received).equals(data))
        t.equal((await client.rest()).ending, 'fin')
      },
    )

    await t.test('a server that closes: 1000 and no code are an end, every other code a break', async (t) => {
      // What the package lets through: 1000 to 1014 but 1004 to 1006, and 3000 to 4999.
      const valid = [1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 1012, 1013, 1014]
      const range = Array.from({ length: 41 }, (_, i) => Math.min(4999, 3000 + i * 50))
      const failures: string[] = []
      await Promise.all(
        [undefined, ...valid, ...range].map(async (code) => {
          const { client, socket } = await bench.open(`code-${code}.test:443`)
          socket.send(encodeChunk(Buffer.from('last words')))
          const closed = bench.closing(socket)
          if (code === undefined) socket.close()
          else socket.close(code, 'a reason')
          const { bytes, ending } = await client.rest()
          const isEnd = code === undefined || code === 1000
          if (bytes.toString() !== 'last words') failures.push(`${code}: ${bytes}`)
          if (ending !== (isEnd ? 'fin' : 'rst')) failures.push(`${code}: ${ending}`)
          // The Close comes back with its own code.
          const echoed = await closed
          if (echoed !== (code ?? 1005)) failures.push(`${code}: echoed as ${echoed}`)
        }),
      )
      t.strictSame(failures, [])
      const codes = (await bench.relay.status()).failures.map(({ code }) => code)
      t.strictSame([...new Set(codes)], ['ERR_GATEWAY_CLOSED'])
    })

    await t.test('a server that terminates: between messages an end, inside one a break', async (t) => {
      const between = await bench.open()
      between.socket.send(encodeChunk(Buffer.from('whole')), () => between.socket.terminate())
      t.same(await between.client.rest(), { bytes: Buffer.from('whole'), ending: 'fin' })

      const inside = await bench.open()
      inside.socket.send(encodeChunk(Buffer.from('half')).subarray(0, 3), { fin: false, binary: true }, () =>
        inside.socket.terminate(),
      )
      t.equal((await inside.client.rest()).ending, 'rst')
      await eventually(async () => (await lastFailure(bench.relay)) === 'ERR_GATEWAY_LOST', 'the failure')
    })

    await t.test('a text message is refused, by a Close or by the end of the connection', async (t) => {
      const { client, socket } = await bench.open()
      const closed = bench.closing(socket)
      socket.send('text', { binary: false })
      t.equal((await client.rest()).ending, 'rst')
      t.ok([1002, 1003, 1006].includes(await closed))
      t.equal(await lastFailure(bench.relay), 'ERR_GATEWAY_PROTOCOL')
    })

    await t.test('a message over the limit is refused, one at the limit is not', async (t) => {
      const { client, socket } = await bench.open()
      const most = Buffer.alloc(16 * MiB - 5, 'm')
      socket.send(encodeChunk(most))
      t.ok((await client.inbox.read(most.length)).equals(most))
      socket.send(encodeChunk(Buffer.alloc(17 * MiB)))
      await client.ending
      t.equal(await client.ending, 'rst')
      t.equal(await lastFailure(bench.relay), 'ERR_CHUNK_TOO_LARGE')
    })

    await t.test(
      'a server that reads nothing for a while holds the client up, and loses nothing',
      async (t) => {
        const { client, socket } = await bench.open()
        socket.pause()
        const data = randomBytes(24 * MiB)
        let isSent = false
        const sent = client.send(data).then(() => (isSent = true))
        await new Promise((resolve) => setTimeout(resolve, 300))
        t.notOk(isSent, 'the client waits')
        const hash = createHash('sha256')
        let left = data.length
        socket.on('message', (message: Buffer) => {
          const payload = decodeChunk(message, 16 * MiB)
          hash.update(payload)
          left -= payload.length
        })
        socket.resume()
        await sent
        await eventually(() => left === 0, 'the whole upload')
        t.equal(hash.digest('hex'), sha256(data))
        client.end()
        t.equal(await bench.closing(socket), 1000)
      },
    )

    await t.test(
      'a thousand tunnels, one after the other and forty at once, keep their bytes apart',
      async (t) => {
        let wrong = 0
        await Promise.all(
          Array.from({ length: 40 }, async () => {
            for (let i = 0; i < 25; i++) {
              const { client, socket } = await bench.open()
              socket.on('message', (message: Buffer) => socket.send(message))
              const data = randomBytes(1 + Math.floor(Math.random() * 5000))
              client.write(data)
              if (!(await client.inbox.read(data.length)).equals(data)) wrong += 1
              client.end()
              if ((await client.ending) !== 'fin') wrong += 1
            }
          }),
        )
        t.equal(wrong, 0)
        await eventually(async () => (await bench.relay.status()).tunnels.open === 0, 'no tunnel left open')
      },
    )
  })
}

async function lastFailure(relay: RelayProcess): Promise<string | undefined> {
  return (await relay.status()).failures.at(-1)?.code
}

function sha256(bytes: Buffer): string {
  return createHash('sha256').update(bytes).digest('hex')
}
