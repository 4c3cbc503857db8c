// The size of what is written and of what is sent in one message: small ones cost by the piece, large ones by the byte.
import { OURS, transfer } from './transfer.mjs'

export const name = 'chunks'
export const about = 'CPU s/GB by the size of the client’s writes (up) and of the gateway’s messages (down)'
export const rounds = 5
export const quick = false

const SIZES = [1, 16, 64, 256]

export function cases({ quick }) {
  return ['wss', 'ws'].flatMap((scheme) =>
    ['up', 'down'].map((direction) => ({
      id: `chunks/${scheme}/${direction}`,
      title: `${scheme}, ${direction}`,
      key: { scheme, direction },
      scheme,
      participants: [...OURS, 'naive', 'floor', 'copy'],
      metrics: Object.fromEntries(
        SIZES.map((size) => [`cpu${size}`, { unit: 's/GB', better: 'less', text: `${size} KB` }]),
      ),
      async measure(relay, stage) {
        const figures = {}
        for (const size of SIZES) {
          const megabytes = (size === 1 ? 32 : 128) / (quick ? 4 : 1)
          const { measure } = transfer({ kind: direction, megabytes, chunk: size * 1024 })
          figures[`cpu${size}`] = (await measure(relay, stage)).cpu
        }
        return figures
      },
    })),
  )
}
