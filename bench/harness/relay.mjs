/** What all participants' ways to start have in common. */
import * as net from 'node:net'
import { Process } from './process.mjs'

/** This participant cannot be had here; its message says why. */
export class Absent extends Error {}

/** The gateway's port that a relay of this stage is to talk to. */
export function gatewayPort({ gateway, scheme, resumption = true, port }) {
  if (port !== undefined) return `${port}`
  return `${scheme === 'ws' ? gateway.ports.plain : resumption ? gateway.ports.tls : gateway.ports.full}`
}

/** A relay that prints its port as a line of JSON. */
export async function announced(command, options = {}) {
  const since = performance.now()
  const process = new Process(command, { place: 'relay', ...options })
  try {
    const { port, absent } = await process.next(20_000)
    if (absent) throw new Absent(absent)
    return started(process, port, since)
  } catch (error) {
    await process.stop()
    throw error
  }
}

/** A relay that is told its port and says nothing when it listens; resolves once it does. */
export async function listeningOn(port, command, options = {}) {
  const since = performance.now()
  const process = new Process(command, { place: 'relay', ...options })
  const deadline = Date.now() + 20_000
  while (!(await accepts(port))) {
    if (process.ended || Date.now() > deadline) {
      await process.stop()
      throw new Error(`${command[0]} does not listen: ${process.said}`)
    }
    await new Promise((resolve) => setTimeout(resolve, 2))
  }
  return started(process, port, since)
}

function started(process, port, since) {
  return {
    pid: process.pid,
    port,
    startMs: performance.now() - since,
    say: (line) => process.say(line),
    stop: () => process.stop(),
  }
}

/** A port that is free now; who listens on it next is a matter of luck, and good enough here. */
export function freePort() {
  return new Promise((resolve) => {
    const server = net.createServer().listen(0, '127.0.0.1', () => {
      const { port } = server.address()
      server.close(() => resolve(port))
    })
  })
}

function accepts(port) {
  return new Promise((resolve) => {
    const socket = net.connect(port, '127.0.0.1')
    socket.once('connect', () => resolve(true)).once('error', () => resolve(false))
    socket.once('connect', () => socket.destroy())
  })
}
