/** The message type of the wire protocol as @bufbuild/protobuf sees it: a second opinion on chunks. */
import { create, createFileRegistry, fromBinary, type Message, toBinary } from '@bufbuild/protobuf'
import {
  FieldDescriptorProto_Label,
  FieldDescriptorProto_Type,
  FileDescriptorProtoSchema,
} from '@bufbuild/protobuf/wkt'

/** `data` of a message as the library reads it. Throws what the library throws. */
export function libraryDecode(bytes: Uint8Array): Buffer {
  const { data } = fromBinary(schema, bytes) as ChunkMessage
  return Buffer.from(data)
}

/** A message as the library writes it, unknown fields after the known one. */
export function libraryEncode(data: Uint8Array, unknown: Message['$unknown'] = []): Buffer {
  const message = create(schema) as ChunkMessage
  message.data = data
  message.$unknown = unknown
  return Buffer.from(toBinary(schema, message))
}

type ChunkMessage = Message & { data: Uint8Array }

// message UpstreamProxyChunk { bytes data = 1; }
const file = create(FileDescriptorProtoSchema, {
  name: 'upstreamproxy.proto',
  syntax: 'proto3',
  messageType: [
    {
      name: 'UpstreamProxyChunk',
      field: [
        {
          name: 'data',
          number: 1,
          type: FieldDescriptorProto_Type.BYTES,
          label: FieldDescriptorProto_Label.OPTIONAL,
        },
      ],
    },
  ],
})
const schema = createFileRegistry(file, () => undefined).getMessage('UpstreamProxyChunk')!
