/** A fresh key for every frame (RFC 6455 §5.3), drawn from the system's generator a page at a time. */
import { randomFillSync } from 'node:crypto'

export function maskingKey(): number {
  if (next === keys.length) {
    randomFillSync(keys)
    next = 0
  }
  return keys[next++]!
}

const keys = new Int32Array(2048)
let next = keys.length
