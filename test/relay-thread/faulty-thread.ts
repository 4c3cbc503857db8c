/** The relay's thread, in which a test can make things go wrong (`provoke` of host-program.ts). */
import { BroadcastChannel } from 'node:worker_threads'

const channel = new BroadcastChannel('relay-thread-test')
channel.unref?.()
channel.onmessage = (event) => {
  const { data: what } = event as { data: string }
  if (what === 'throw') setImmediate(() => fail())
  if (what === 'reject') void Promise.reject(new Error('nobody catches this'))
  if (what === 'exit') process.exit(3)
  if (what === 'hang') for (;;);
  if (what === 'fill') for (const held: unknown[] = []; ; ) held.push(new Array(1000).fill(held.length))
}
await import('#src/relay/relay-thread.js')

function fail(): never {
  throw new Error('nobody catches this')
}
