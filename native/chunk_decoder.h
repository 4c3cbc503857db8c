// Streaming decoder of one message's chunk, `UpstreamProxyChunk { bytes data = 1; }` (wire protocol v1).
//
// Rule 1: it takes all that protobuf allows: no bytes at all, unknown fields, groups, varints longer than they need be,
//         `data` more than once (the last wins).
// Rule 2: payload goes out early only where no later field can replace it: the message's length is known and the field
//         reaches its end. Otherwise it is held, up to the cap, until the message is over.
// Rule 3: what is held grows with what has come, never with what was announced, and is freed with the message.
#ifndef UPSTREAMPROXY_CHUNK_DECODER_H_
#define UPSTREAMPROXY_CHUNK_DECODER_H_

#include "bytes.h"
#include "framing_failure.h"
#include "payload_sink.h"

namespace upstreamproxy {

class ChunkDecoder {
 public:
  ChunkDecoder() = default;
  ~ChunkDecoder();
  ChunkDecoder(const ChunkDecoder&) = delete;
  ChunkDecoder& operator=(const ChunkDecoder&) = delete;

  static constexpr uint64_t kUnknown = ~0ULL;

  // A new message, of so many bytes where the framing has told it. A field may have `max_bytes`.
  void Begin(uint64_t message_bytes, uint64_t max_bytes);

  // More of the message. After a failure: Begin.
  FramingFailure Push(Bytes bytes, PayloadSink* sink);

  // The message is over: hands out what was held.
  FramingFailure End(PayloadSink* sink);

 private:
  enum class Body { kSkip, kHold, kStream };
  struct Field;

  // The field whose tag is at `bytes`; `complete` is false where its tag or length is not all there.
  FramingFailure ReadField(const uint8_t* bytes, size_t size, Field* field, bool* complete);
  FramingFailure BeginBody(const Field& field);
  FramingFailure Hold(Bytes piece);
  void Release();

  static constexpr size_t kMaxHeaderBytes = 15;  // a tag of 5, a varint of 10
  static constexpr uint8_t kMaxGroups = 100;     // where protobuf's own parsers stop

  uint64_t message_bytes_ = 0;
  uint64_t max_bytes_ = 0;
  uint64_t consumed_ = 0;
  uint64_t body_left_ = 0;
  uint8_t* held_ = nullptr;
  size_t held_bytes_ = 0;
  size_t held_capacity_ = 0;
  // Field numbers of the groups that are open; made when the first is.
  uint32_t* groups_ = nullptr;
  uint8_t group_count_ = 0;
  Body body_ = Body::kSkip;
  uint8_t partial_bytes_ = 0;
  uint8_t partial_[kMaxHeaderBytes] = {};
};

}  // namespace upstreamproxy

#endif  // UPSTREAMPROXY_CHUNK_DECODER_H_
