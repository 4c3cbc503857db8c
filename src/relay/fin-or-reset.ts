/**
 * Where bytes and a reset arrive in one wake-up, libuv reports the bytes and then an end, as if a FIN had come. The
 * kernel knows better: it fails a write on a connection that was reset, even a write of nothing.
 */
import type { Socket } from 'node:net'

/**
 * To be called on a socket's 'end'; writes `probe`, which may be empty. The answer comes before the socket's 'close'.
 */
export function tellFinFromReset(socket: Socket, probe: Buffer, answer: (isFin: boolean) => void): void {
  // Its own FIN is out: nothing can be written, and nothing depends on the answer any more.
  if (socket.writableEnded) return answer(true)
  if (socket.writableLength === 0) {
    socket.write(probe, (error) => answer(!error))
    return
  }
  // What is queued fails in this very turn of the loop, if it must. (Or it goes, and the socket may be closed by then.)
  setImmediate(() => answer(socket.errored === null))
}
