/** Waiting with an end: a test that waits for something that never comes says what it waited for. */

/** The promise's value, or a rejection that names `what` once `ms` have passed. */
export async function within<T>(promise: Promise<T>, what: string, ms = DEFAULT_MS): Promise<T> {
  let timer: NodeJS.Timeout | undefined
  const late = new Promise<never>((_resolve, reject) => {
    timer = setTimeout(() => reject(new Error(`${what}: not within ${ms} ms`)), ms)
  })
  try {
    return await Promise.race([promise, late])
  } finally {
    clearTimeout(timer)
  }
}

/** Asks again and again until `check` holds; rejects, naming `what`, once `ms` have passed. */
export async function eventually(check: () => boolean | Promise<boolean>, what: string, ms = DEFAULT_MS) {
  const end = Date.now() + ms
  while (!(await check())) {
    if (Date.now() > end) throw new Error(`${what}: not within ${ms} ms`)
    await pause(POLL_MS)
  }
}

/** Lets `ms` pass: for time that is itself the matter of a test, never for hoping that something is done. */
export function pause(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms))
}

const DEFAULT_MS = 10_000
const POLL_MS = 5
