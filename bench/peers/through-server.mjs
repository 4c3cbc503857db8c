/** A relay that needs a server of its own kind on the other side: that one runs with the load, and is not weighed. */
import { freePort, listeningOn } from '../harness/relay.mjs'

/** `server(port)` and `client(port, serverPort)` give the program's arguments. */
export async function throughServer(program, { server, client }) {
  const serverPort = await freePort()
  const far = await listeningOn(serverPort, [program, ...server(serverPort)], { place: 'load' })
  try {
    const port = await freePort()
    const near = await listeningOn(port, [program, ...client(port, serverPort)])
    return { ...near, stop: () => Promise.all([near.stop(), far.stop()]) }
  } catch (error) {
    await far.stop()
    throw error
  }
}
