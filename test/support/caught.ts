/** What a call throws; undefined where it does not. */
export function caught(call: () => unknown): unknown {
  try {
    call()
    return undefined
  } catch (error) {
    return error
  }
}
