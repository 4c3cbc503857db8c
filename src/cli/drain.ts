/** The end of a relay: open tunnels get their time, unless somebody is impatient. */
import { setTimeout as delay } from 'node:timers/promises'

interface Closable {
  close(options?: { drainMs?: number }): Promise<void>
}

/** Closes within `drainMs` and the time that resets take; `impatient` cuts the drain short. Never rejects. */
export async function closeRelay(relay: Closable, drainMs: number, impatient: Promise<void>): Promise<void> {
  const closed = relay.close({ drainMs }).then(
    () => 'closed' as const,
    // What is still open at our exit is closed by the system; there is nobody left to tell.
    () => 'closed' as const,
  )
  if ((await Promise.race([closed, impatient])) === 'closed') return
  await Promise.race([relay.close({ drainMs: 0 }), delay(RESET_MS)])
}

// For the resets to be written; they need no answer.
const RESET_MS = 500
