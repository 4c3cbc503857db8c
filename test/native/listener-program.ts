/**
 * Listens by the addon, and says on standard output what happens: `port N`, `failed CODE after N`, `accepted N`. Without
 * an argument it obeys lines on its standard input, and ends with it: `cpu`, `resume`, `free`. With `unref` or `alive` it
 * has nothing else to do.
 */
import { closeSync } from 'node:fs'
import { createInterface } from 'node:readline'
import { loadAddon } from '#src/platform/addon.js'

const { LoopbackListener } = loadAddon().addon!.sockets!
const open: number[] = []
let [accepted, isFreeing] = [0, false]
let cpuAtFailure = process.cpuUsage()

const listener = new LoopbackListener(0, 128, {
  onConnection(descriptor) {
    accepted += 1
    if (isFreeing) closeSync(descriptor)
    else open.push(descriptor)
    if (accepted === 60) console.log('accepted 60')
  },
  onFailed({ code }) {
    console.log(`failed ${code} after ${accepted}`)
    cpuAtFailure = process.cpuUsage()
  },
})
const [scenario] = process.argv.slice(2)
if (scenario === 'unref') listener.unref()
console.log(`port ${listener.port}`)
if (scenario === undefined) await obey()

async function obey(): Promise<void> {
  for await (const line of createInterface({ input: process.stdin })) {
    if (line === 'cpu') {
      const { user, system } = process.cpuUsage(cpuAtFailure)
      console.log(`cpu ${Math.round((user + system) / 1000)}`)
    }
    if (line === 'free') {
      isFreeing = true
      for (const descriptor of open.splice(0)) closeSync(descriptor)
    }
    if (line === 'free' || line === 'resume') listener.resume()
  }
  listener.close()
}
