/** The vectors beside this file, as bytes. Written as data, so that an implementation in any language can use them. */
import { readFileSync } from 'node:fs'
import type { ErrorCode } from '#src/errors.js'

/** Text in one of the two encodings of the vectors, or parts that are joined. */
type Written = string | readonly (string | { readonly repeat: string; readonly times: number })[]

export interface HeadVector {
  readonly name: string
  readonly bytes: Buffer
}

export interface AcceptedHead extends HeadVector {
  readonly kind: 'connect' | 'origin'
  /** what the parser must give, but for `raw` and `rest` */
  readonly fields: Readonly<Record<string, unknown>>
  readonly headers: readonly { readonly name: string; readonly value: string }[] | undefined
  readonly rawBytes: number
  readonly rest: Buffer
}

export interface RefusedHead extends HeadVector {
  readonly code: ErrorCode
}

export interface ChunkVector {
  readonly name: string
  readonly message: Buffer
  readonly cap: number | undefined
  /** where @bufbuild/protobuf decides otherwise, and why */
  readonly library: string | undefined
  /** what it carries, or the code that refuses it */
  readonly expected: Buffer | ErrorCode
}

/** Request heads. */
export function headVectors(): { accepted: AcceptedHead[]; refused: RefusedHead[] } {
  const { accepted, refused } = read('request-heads.json')
  return {
    accepted: accepted.map(({ name, bytes, rest, rawBytes, headers, host, authority, ...fields }) => ({
      name: name as string,
      bytes: joined(bytes as Written, 'latin1'),
      kind: fields['kind'] as 'connect' | 'origin',
      fields: {
        ...fields,
        ...(fields['kind'] === 'connect' && {
          host: joined(host as Written, 'latin1').toString('latin1'),
          authority: joined(authority as Written, 'latin1').toString('latin1'),
        }),
      },
      headers: (headers as [string, string][] | undefined)?.map(([name, value]) => ({ name, value })),
      rawBytes: rawBytes as number,
      rest: joined((rest ?? '') as Written, 'latin1'),
    })),
    refused: refused.map(({ name, bytes, code }) => ({
      name: name as string,
      bytes: joined(bytes as Written, 'latin1'),
      code: code as ErrorCode,
    })),
  }
}

/** Messages of one chunk each. */
export function chunkVectors(): ChunkVector[] {
  const { accepted, refused } = read('chunks.json')
  return [...accepted, ...refused].map(({ name, message, data, code, cap, library }) => ({
    name: name as string,
    message: joined(message as Written, 'hex'),
    cap: cap as number | undefined,
    library: library as string | undefined,
    expected: code === undefined ? joined(data as Written, 'hex') : (code as ErrorCode),
  }))
}

type Row = Readonly<Record<string, unknown>>

function read(file: string): { accepted: Row[]; refused: Row[] } {
  return JSON.parse(readFileSync(new URL(`../../test/vectors/${file}`, import.meta.url), 'utf8'))
}

function joined(written: Written, encoding: 'latin1' | 'hex'): Buffer {
  const parts = typeof written === 'string' ? [written] : written
  const texts = parts.map((part) => (typeof part === 'string' ? part : part.repeat.repeat(part.times)))
  return Buffer.from(texts.join('').replaceAll(encoding === 'hex' ? ' ' : '', ''), encoding)
}
