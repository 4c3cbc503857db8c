/** What all participants' ways to start have in common. */
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
  const process = new Process(command, { place: 'relay', ...options })
  try {
    const { port, absent } = await process.next(20_000)
    if (absent) throw new Absent(absent)
    return { pid: process.pid, port, stop: () => process.stop() }
  } catch (error) {
    await process.stop()
    throw error
  }
}
