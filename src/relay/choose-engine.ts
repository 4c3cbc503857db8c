/** Which engine carries the bytes: as asked for, or the best that there is. */
import { ProxyError } from '../errors.js'
import type { Limits } from '../limits.js'
import type { Log } from '../log.js'
import { nativeDataPath } from '../platform/addon.js'
import type { Engine, EngineName } from './engine.js'
import type { GatewayDialer } from './gateway-dialer.js'
import { nativeEngine } from './native/engine.js'
import { nodeEngine } from './node/engine.js'

export type EngineChoice = 'auto' | EngineName

/** @throws ProxyError ERR_ENGINE where the engine that is asked for cannot be had here */
export function chooseEngine(
  choice: EngineChoice,
  dialer: GatewayDialer,
  options: { readonly limits: Limits; readonly log: Log },
): Engine {
  if (choice === 'node') return nodeEngine(dialer, options.log)
  const { dataPath, hasAddon, broken } = nativeDataPath()
  if (dataPath !== undefined) return nativeEngine(dataPath, dialer, options)
  if (choice === 'auto') return nodeEngine(dialer, options.log)
  const why =
    broken || (hasAddon ? 'this runtime lets no addon use its event loop' : 'there is no addon for it')
  throw new ProxyError('ERR_ENGINE', `the native engine cannot be had here: ${why}`, {
    hint: 'engine auto takes the portable one then',
  })
}
