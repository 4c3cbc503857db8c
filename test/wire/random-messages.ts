/** Random messages in protobuf's encoding, written by @bufbuild/protobuf. */
import { BinaryReader, BinaryWriter, WireType } from '@bufbuild/protobuf/wire'
import fc from 'fast-check'

type UnknownField =
  | { readonly no: number; readonly type: 'varint' | 'bit64'; readonly value: bigint }
  | { readonly no: number; readonly type: 'bytes'; readonly value: Uint8Array }
  | { readonly no: number; readonly type: 'bit32'; readonly value: number }
  | { readonly no: number; readonly type: 'group'; readonly fields: readonly UnknownField[] }

function write(writer: BinaryWriter, field: UnknownField): BinaryWriter {
  switch (field.type) {
    case 'varint':
      return writer.tag(field.no, WireType.Varint).uint64(field.value)
    case 'bit64':
      return writer.tag(field.no, WireType.Bit64).fixed64(field.value)
    case 'bytes':
      return writer.tag(field.no, WireType.LengthDelimited).bytes(field.value)
    case 'bit32':
      return writer.tag(field.no, WireType.Bit32).fixed32(field.value)
    case 'group':
      writer.tag(field.no, WireType.StartGroup)
      for (const inner of field.fields) write(writer, inner)
      return writer.tag(field.no, WireType.EndGroup)
  }
}

/** As the library keeps unknown fields of a message: number, wire type, and the bytes after the tag. */
export function unknownOf(field: UnknownField) {
  const reader = new BinaryReader(write(new BinaryWriter(), field).finish())
  const [no, wireType] = reader.tag()
  return [{ no, wireType, data: reader.skip(wireType, no) }]
}

export const anyPayload: fc.Arbitrary<Uint8Array> = fc.oneof(
  fc.uint8Array({ maxLength: 300 }),
  fc
    .tuple(fc.constantFrom(0, 1, 126, 127, 128, 129, 16383, 16384, 65535, 65536), fc.nat(255))
    .map(([length, byte]) => new Uint8Array(length).fill(byte)),
)
const anyNumber = fc.oneof(fc.integer({ min: 2, max: 20 }), fc.integer({ min: 2, max: 2 ** 29 - 1 }))
export const { field: anyUnknownField } = fc.letrec<{ field: UnknownField }>((tie) => ({
  field: fc.oneof(
    { maxDepth: 4 },
    fc.record({
      no: anyNumber,
      type: fc.constantFrom('varint' as const, 'bit64' as const),
      value: fc.bigInt({ min: 0n, max: 2n ** 64n - 1n }),
    }),
    fc.record({
      no: anyNumber,
      type: fc.constant('bytes' as const),
      value: fc.uint8Array({ maxLength: 200 }),
    }),
    fc.record({ no: anyNumber, type: fc.constant('bit32' as const), value: fc.nat(2 ** 32 - 1) }),
    fc.record({
      no: anyNumber,
      type: fc.constant('group' as const),
      // Inside a group a field 1 is the group's, not ours.
      fields: fc.array(
        fc.oneof(
          tie('field'),
          fc.record({ no: fc.constant(1), type: fc.constant('bytes' as const), value: fc.uint8Array() }),
        ),
        { maxLength: 4 },
      ),
    }),
  ),
}))
const anyData = fc.record({ no: fc.constant(1), type: fc.constant('bytes' as const), value: anyPayload })
/** Encoded messages: unknown fields of every type, groups, any number of `data`. */
export const anyMessage: fc.Arbitrary<Buffer> = fc
  .array(fc.oneof({ arbitrary: anyUnknownField, weight: 2 }, { arbitrary: anyData, weight: 1 }), {
    maxLength: 8,
  })
  .map((fields) => Buffer.from(fields.reduce(write, new BinaryWriter()).finish()))
