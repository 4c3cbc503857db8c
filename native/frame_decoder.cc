#include "frame_decoder.h"

#include <string.h>

#include "utf8.h"

namespace upstreamproxy {
namespace {

constexpr uint8_t kFinal = 0x80;
constexpr uint8_t kReserved = 0x70;
constexpr uint8_t kOpcode = 0x0f;
constexpr uint8_t kMask = 0x80;
constexpr uint8_t kLength = 0x7f;

constexpr uint8_t kContinuation = 0x0;
constexpr uint8_t kText = 0x1;
constexpr uint8_t kBinary = 0x2;
constexpr uint8_t kClose = 0x8;
constexpr uint8_t kPing = 0x9;
constexpr uint8_t kPong = 0xa;

// Past these JavaScript cannot count one by one; and the highest bit must be 0 anyway (RFC 6455 §5.2).
constexpr uint64_t kMaxFrameLength = (1ULL << 53) - 1;

// RFC 6455 §7.4 and the registry it founded: what may travel in a Close.
bool IsCloseCode(unsigned code) {
  if (code >= 3000) return code <= 4999;
  return code >= 1000 && code <= 1014 && code != 1004 && code != 1005 && code != 1006;
}

constexpr uint16_t kNoCode = 1005;

}  // namespace

// Counts what passes through to the caller's sink.
class FrameDecoder::CountingSink final : public PayloadSink {
 public:
  CountingSink(PayloadSink* sink, FrameDecoder* decoder) : sink_(sink), decoder_(decoder) {}

  void Take(Bytes piece) override {
    Count(piece);
    sink_->Take(piece);
  }

  void TakePassing(Bytes piece) override {
    Count(piece);
    sink_->TakePassing(piece);
  }

 private:
  void Count(Bytes piece) {
    decoder_->payload_bytes_ += piece.size;
    decoder_->events_ |= kEventPayload;
  }

  PayloadSink* sink_;
  FrameDecoder* decoder_;
};

unsigned FrameDecoder::Push(Bytes bytes, PayloadSink* sink) {
  events_ = 0;
  CountingSink counting(sink, this);
  size_t at = 0;
  while (at < bytes.size && failure_ == FramingFailure::kNone && close_code_ == 0) {
    if (!in_frame_) {
      if (!ReadHeader(bytes, &at)) continue;
    } else {
      const size_t rest = bytes.size - at;
      const Bytes piece = {bytes.data + at, body_left_ < rest ? static_cast<size_t>(body_left_) : rest};
      at += piece.size;
      body_left_ -= piece.size;
      PushBody(piece, &counting);
    }
    if (failure_ == FramingFailure::kNone && in_frame_ && body_left_ == 0) EndFrame(&counting);
  }
  return events_;
}

bool FrameDecoder::TakePing(Bytes* payload) {
  if (!has_ping_) return false;
  has_ping_ = false;
  *payload = {ping_, ping_bytes_};
  return true;
}

bool FrameDecoder::ReadHeader(Bytes bytes, size_t* at) {
  header_[header_bytes_++] = bytes.data[(*at)++];
  if (header_bytes_ < 2) return false;
  if (header_bytes_ == 2) {
    CheckStart();
    if (failure_ != FramingFailure::kNone) return false;
  }
  const uint8_t length = header_[1] & kLength;
  const size_t extended = length == 126 ? 2 : length == 127 ? 8 : 0;
  if (header_bytes_ < 2 + extended) return false;
  uint64_t value = extended == 0 ? length : 0;
  for (size_t i = 0; i < extended; i++) value = value << 8 | header_[2 + i];
  header_bytes_ = 0;
  BeginFrame(value);
  return failure_ == FramingFailure::kNone;
}

// What the first two bytes can break.
void FrameDecoder::CheckStart() {
  const uint8_t opcode = header_[0] & kOpcode;
  if ((header_[0] & kReserved) != 0) return Fail(FramingFailure::kReservedBits);
  if ((header_[1] & kMask) != 0) return Fail(FramingFailure::kMasked);
  switch (opcode) {
    case kContinuation:
      if (!in_message_) Fail(FramingFailure::kContinuationOfNothing);
      return;
    case kBinary:
      if (in_message_) Fail(FramingFailure::kMessageInsideMessage);
      return;
    case kText:
      return Fail(FramingFailure::kText);
    case kClose:
      if ((header_[1] & kLength) == 1) return Fail(FramingFailure::kCloseFrame);
      [[fallthrough]];
    case kPing:
    case kPong:
      if ((header_[0] & kFinal) == 0 || (header_[1] & kLength) > kMaxControlBytes)
        Fail(FramingFailure::kControlFrame);
      return;
    default:
      return Fail(FramingFailure::kOpcode);
  }
}

void FrameDecoder::BeginFrame(uint64_t length) {
  in_frame_ = true;
  body_left_ = length;
  if (length > kMaxFrameLength) return Fail(FramingFailure::kFrameLength);
  const uint8_t opcode = header_[0] & kOpcode;
  if (opcode >= kClose) {
    control_bytes_ = 0;
    return;
  }
  const bool is_final = (header_[0] & kFinal) != 0;
  if (opcode == kBinary) message_bytes_ = 0;
  message_bytes_ += length;
  if (message_bytes_ > max_message_bytes_) return Fail(FramingFailure::kMessageTooLarge);
  if (opcode == kBinary) chunk_.Begin(is_final ? length : ChunkDecoder::kUnknown, max_message_bytes_);
  in_message_ = true;
}

void FrameDecoder::PushBody(Bytes piece, PayloadSink* sink) {
  if ((header_[0] & kOpcode) < kClose) {
    const FramingFailure failure = chunk_.Push(piece, sink);
    if (failure != FramingFailure::kNone) Fail(failure);
    return;
  }
  memcpy(control_ + control_bytes_, piece.data, piece.size);
  control_bytes_ = static_cast<uint8_t>(control_bytes_ + piece.size);
}

void FrameDecoder::EndFrame(PayloadSink* sink) {
  in_frame_ = false;
  switch (header_[0] & kOpcode) {
    case kClose:
      return EndClose();
    case kPing:
      memcpy(ping_, control_, control_bytes_);
      ping_bytes_ = control_bytes_;
      has_ping_ = true;
      events_ |= kEventPing;
      return;
    case kPong:
      events_ |= kEventPong;
      return;
    default:
      if ((header_[0] & kFinal) == 0) return;
      in_message_ = false;
      const FramingFailure failure = chunk_.End(sink);
      if (failure != FramingFailure::kNone) Fail(failure);
  }
}

void FrameDecoder::EndClose() {
  unsigned code = kNoCode;
  if (control_bytes_ >= 2) {
    code = static_cast<unsigned>(control_[0]) << 8 | control_[1];
    if (!IsCloseCode(code) || !IsUtf8({control_ + 2, control_bytes_ - size_t{2}}))
      return Fail(FramingFailure::kCloseFrame);
  }
  close_code_ = static_cast<uint16_t>(code);
  events_ |= kEventClosed;
}

void FrameDecoder::Fail(FramingFailure failure) {
  failure_ = failure;
  events_ |= kEventFailed;
}

}  // namespace upstreamproxy
