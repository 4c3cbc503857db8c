/** A promise that is settled from outside. */
export interface Deferred<T> {
  readonly promise: Promise<T>
  resolve(value: T): void
  fail(why: string): void
}

/** Settles once; a rejection that nobody waits for is no error. */
export function deferred<T = void>(): Deferred<T> {
  const parts: { resolve?: (value: T) => void; reject?: (error: Error) => void } = {}
  const promise = new Promise<T>((resolve, reject) => Object.assign(parts, { resolve, reject }))
  promise.catch(() => undefined)
  return { promise, resolve: (value) => parts.resolve!(value), fail: (why) => parts.reject!(new Error(why)) }
}
