/**
 * The three functions of the Reflect metadata proposal that @peculiar/x509's container asks for at import. It takes
 * any implementation; this one stands in only where there is none yet. To be imported before the library.
 */

interface MetadataReflect {
  defineMetadata?: (key: unknown, value: unknown, target: object) => void
  getMetadata?: (key: unknown, target: object) => unknown
  getOwnMetadata?: (key: unknown, target: object) => unknown
}

const reflect = Reflect as MetadataReflect
if (reflect.getMetadata === undefined) {
  const kept = new WeakMap<object, Map<unknown, unknown>>()
  const read = (key: unknown, target: object) => kept.get(target)?.get(key)
  reflect.getMetadata = read
  reflect.getOwnMetadata = read
  reflect.defineMetadata = (key, value, target) => {
    kept.set(target, new Map(kept.get(target)).set(key, value))
  }
}
