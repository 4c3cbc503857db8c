// `npm run demo`: from a fresh clone to a real client's request through relay and gateway, in one command.
import { spawn } from 'node:child_process'
import { join } from 'node:path'
import { root, setUp } from './setup.mjs'

const started = performance.now()
setUp()
const setUpSeconds = (performance.now() - started) / 1000
if (setUpSeconds > 5)
  console.error(`installed and built in ${setUpSeconds.toFixed()} s; this was the first time only`)

const demo = spawn(process.execPath, [join(root, 'gateway/dist/cli.js'), 'demo'], { stdio: 'inherit' })
// It clears up when it is interrupted, and we stay until it has: a terminal's Ctrl-C reaches both of us.
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP']) process.on(signal, () => demo.kill(signal))
demo.once('exit', (status) => {
  process.exitCode = status ?? 1
})
