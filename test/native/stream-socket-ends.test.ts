/** What becomes of sockets that read where objects, processes and threads end. */
import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import type { Socket } from 'node:net'
import t, { type Test } from 'tap'
import { pause, within } from '../support/deadline.js'
import { needsSockets } from './accepted.js'
import { Program } from './program.js'

function test(title: string, run: (t: Test) => Promise<void>): void {
  t.test(title, { ...needsSockets, timeout: 60_000 }, run)
}

test('a socket that reads is not collected, whoever forgets it; and is when it is over', async (t) => {
  const program = new Program(t, 'forgotten')
  const far = await program.connect()
  const data = randomBytes(4 * 1024 * 1024)
  const echoed = readAll(far)
  for (let at = 0; at < data.length; at += 500_000) {
    far.write(data.subarray(at, at + 500_000))
    await pause(20)
    t.equal(program.said.includes('collected'), false)
  }
  far.end()
  t.ok((await echoed).equals(data))
  t.equal(await program.status, 0)
  t.match(program.said, /\ncollected: socket\n$/)
})

test('a socket that waits for nothing is collected, and its descriptor closed', async (t) => {
  const program = new Program(t, 'dropped')
  const far = await program.connect()
  t.equal((await readAll(far)).length, 0, 'the far end sees the end')
  t.match(program.said, 'collected: socket')
})

test('unref lets the process end with a socket that reads; ref undoes it', async (t) => {
  const free = new Program(t, 'unref')
  await free.connect()
  t.equal(await free.status, 0)
  t.match(free.said, /reading\n$/)

  const held = new Program(t, 'alive')
  const far = await held.connect()
  await held.says(/reading\n/)
  await pause(300)
  t.equal(held.child.exitCode, null, 'it lives on')
  far.end()
  t.equal(await held.status, 0)
})

test('what callbacks throw are uncaught exceptions, and the socket goes on', async (t) => {
  const program = new Program(t, 'throws')
  const far = await program.connect()
  far.write('one')
  await program.says(/read 1 of one\n/)
  far.write('two')
  await program.says(/read 2 of two\n/)
  far.end()
  await program.says(/uncaught: at the end\n/)
  t.equal(await program.status, 0)
  const lines = program.said.split('\n').slice(1, -1)
  t.strictSame(
    lines.map((line) => line.replace('uncaught: ', '')),
    ['when connected', 'at read 1 of one', 'at read 2 of two', 'at the end', 'when closed'],
  )
})

test('where nobody catches it, it ends the process, and is told', async (t) => {
  const program = new Program(t, 'uncaught')
  const far = await program.connect()
  far.write('x')
  t.equal(await program.status, 1)
  t.match(program.errors, /Error: by the callback\n/)
})

test('a process may exit inside a read', async (t) => {
  const program = new Program(t, 'exit')
  for (let i = 0; i < 5; i++) await program.connect()
  const far = await program.connect()
  far.write('x')
  t.equal(await program.status, 7, program.errors)
})

test('threads may be terminated while they accept and read', async (t) => {
  const program = new Program(t, 'workers')
  t.equal(await program.status, 0, program.errors)
  t.equal(program.said, 'terminated\n')
})

async function readAll(far: Socket): Promise<Buffer> {
  const pieces: Buffer[] = []
  far.on('data', (piece: Buffer) => pieces.push(piece)).resume()
  await within(once(far, 'end'), 'the end of the stream')
  return Buffer.concat(pieces)
}
