// Streaming decoder of what a WebSocket server sends (RFC 6455 §5), and of the chunks in it.
//
// Rule 1: every rule of RFC 6455 that a server can break is held, without extensions; binary messages alone.
// Rule 2: a message's length is held against its cap when its header is read, before its payload is.
// Rule 3: what precedes a violation or a Close is handed on; what follows is dropped.
// Rule 4: no allocation, but for payload that has to be held (chunk_decoder.h).
#ifndef UPSTREAMPROXY_FRAME_DECODER_H_
#define UPSTREAMPROXY_FRAME_DECODER_H_

#include "bytes.h"
#include "chunk_decoder.h"
#include "framing_failure.h"
#include "payload_sink.h"

namespace upstreamproxy {

// Bits of what Push returns (FRAME_EVENT of src/platform/framing.ts).
enum FrameEvent : unsigned {
  kEventPayload = 1,
  kEventPing = 2,
  kEventPong = 4,
  kEventClosed = 8,
  kEventFailed = 16,
};

class FrameDecoder {
 public:
  explicit FrameDecoder(uint64_t max_message_bytes) : max_message_bytes_(max_message_bytes) {}

  // Decodes all of `bytes`; returns the events that came up. Payload goes to `sink`.
  unsigned Push(Bytes bytes, PayloadSink* sink);

  // Payload of the last ping since the last call, at most 125 bytes; false where there was none.
  bool TakePing(Bytes* payload);

  // chunk payload that was handed on, in bytes
  uint64_t payload_bytes() const { return payload_bytes_; }
  // 0 before the Close, 1005 where it had no code
  uint16_t close_code() const { return close_code_; }
  FramingFailure failure() const { return failure_; }
  bool between_messages() const { return header_bytes_ == 0 && !in_frame_ && !in_message_; }

 private:
  class CountingSink;

  // Reads what a header needs; true once it is complete (or has broken a rule).
  bool ReadHeader(Bytes bytes, size_t* at);
  void CheckStart();
  void BeginFrame(uint64_t length);
  void PushBody(Bytes piece, PayloadSink* sink);
  void EndFrame(PayloadSink* sink);
  void EndClose();
  void Fail(FramingFailure failure);

  static constexpr size_t kMaxControlBytes = 125;

  const uint64_t max_message_bytes_;
  uint64_t payload_bytes_ = 0;
  uint64_t body_left_ = 0;
  uint64_t message_bytes_ = 0;
  ChunkDecoder chunk_;
  unsigned events_ = 0;
  FramingFailure failure_ = FramingFailure::kNone;
  uint16_t close_code_ = 0;
  bool in_frame_ = false;
  bool in_message_ = false;
  bool has_ping_ = false;
  uint8_t header_bytes_ = 0;
  uint8_t control_bytes_ = 0;
  uint8_t ping_bytes_ = 0;
  uint8_t header_[10] = {};
  uint8_t control_[kMaxControlBytes] = {};
  uint8_t ping_[kMaxControlBytes] = {};
};

}  // namespace upstreamproxy

#endif  // UPSTREAMPROXY_FRAME_DECODER_H_
