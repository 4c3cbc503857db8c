#include "chunk_decoder.h"

#include <stdlib.h>
#include <string.h>

namespace upstreamproxy {
namespace {

enum class Varint { kDone, kPartial, kTooLong };

// A varint of at most `max_bytes` (10 at most). A value that 64 bits cannot hold comes out as the largest, so that a
// comparison with a cap holds.
Varint ReadVarint(const uint8_t* bytes, size_t size, size_t max_bytes, uint64_t* value, size_t* length) {
  uint64_t result = 0;
  bool overflow = false;
  for (size_t i = 0; i < max_bytes; i++) {
    if (i == size) return Varint::kPartial;
    const uint64_t low = bytes[i] & 0x7f;
    if (i == 9 && low > 1) overflow = true;
    result |= low << (7 * i);
    if (bytes[i] < 0x80) {
      *value = overflow ? ~0ULL : result;
      *length = i + 1;
      return Varint::kDone;
    }
  }
  return Varint::kTooLong;
}

size_t Smaller(uint64_t a, size_t b) { return a < b ? static_cast<size_t>(a) : b; }

}  // namespace

struct ChunkDecoder::Field {
  // field 1, length-delimited, outside any group
  bool is_data;
  size_t header_bytes;
  uint64_t body_bytes;
};

ChunkDecoder::~ChunkDecoder() { Release(); }

void ChunkDecoder::Begin(uint64_t message_bytes, uint64_t max_bytes) {
  Release();
  message_bytes_ = message_bytes;
  max_bytes_ = max_bytes;
  consumed_ = 0;
  body_left_ = 0;
  group_count_ = 0;
  partial_bytes_ = 0;
}

FramingFailure ChunkDecoder::Push(Bytes bytes, PayloadSink* sink) {
  size_t at = 0;
  while (at < bytes.size) {
    if (body_left_ > 0) {
      const Bytes piece = {bytes.data + at, Smaller(body_left_, bytes.size - at)};
      at += piece.size;
      consumed_ += piece.size;
      body_left_ -= piece.size;
      if (body_ == Body::kStream) {
        sink->Take(piece);
      } else if (body_ == Body::kHold) {
        const FramingFailure failure = Hold(piece);
        if (failure != FramingFailure::kNone) return failure;
      }
      continue;
    }
    Field field;
    bool complete;
    FramingFailure failure;
    const size_t kept = partial_bytes_;
    if (kept == 0) {
      failure = ReadField(bytes.data + at, bytes.size - at, &field, &complete);
    } else {
      const size_t more = Smaller(kMaxHeaderBytes - kept, bytes.size - at);
      memcpy(partial_ + kept, bytes.data + at, more);
      failure = ReadField(partial_, kept + more, &field, &complete);
    }
    if (failure != FramingFailure::kNone) return failure;
    if (!complete) {
      // Fewer than kMaxHeaderBytes in all, since so many always complete a header or break it.
      const size_t rest = bytes.size - at;
      if (kept == 0) memcpy(partial_, bytes.data + at, rest);
      partial_bytes_ = static_cast<uint8_t>(kept + rest);
      return FramingFailure::kNone;
    }
    partial_bytes_ = 0;
    at += field.header_bytes - kept;
    failure = BeginBody(field);
    if (failure != FramingFailure::kNone) return failure;
  }
  return FramingFailure::kNone;
}

FramingFailure ChunkDecoder::End(PayloadSink* sink) {
  const bool cut_short = message_bytes_ != kUnknown && consumed_ != message_bytes_;
  if (body_left_ > 0 || partial_bytes_ > 0 || group_count_ > 0 || cut_short) return FramingFailure::kTruncated;
  if (held_bytes_ > 0) sink->TakePassing({held_, held_bytes_});
  Release();
  return FramingFailure::kNone;
}

FramingFailure ChunkDecoder::ReadField(const uint8_t* bytes, size_t size, Field* field, bool* complete) {
  *complete = false;
  uint64_t tag;
  size_t tag_bytes;
  switch (ReadVarint(bytes, size, 5, &tag, &tag_bytes)) {
    case Varint::kPartial:
      return FramingFailure::kNone;
    case Varint::kTooLong:
      return FramingFailure::kVarint;
    case Varint::kDone:
      break;
  }
  if (tag > 0xffffffff) return FramingFailure::kFieldTag;
  const uint32_t number = static_cast<uint32_t>(tag >> 3);
  if (number == 0) return FramingFailure::kFieldNumber;
  *field = {false, tag_bytes, 0};
  const int wire_type = tag & 7;
  switch (wire_type) {
    case 0:
    case 2: {
      uint64_t value;
      size_t value_bytes;
      switch (ReadVarint(bytes + tag_bytes, size - tag_bytes, 10, &value, &value_bytes)) {
        case Varint::kPartial:
          return FramingFailure::kNone;
        case Varint::kTooLong:
          return FramingFailure::kVarint;
        case Varint::kDone:
          break;
      }
      field->header_bytes += value_bytes;
      if (wire_type == 2) {
        if (value > max_bytes_) return FramingFailure::kFieldTooLarge;
        field->is_data = number == 1 && group_count_ == 0;
        field->body_bytes = value;
      }
      break;
    }
    case 1:
      field->body_bytes = 8;
      break;
    case 3:
      if (group_count_ == kMaxGroups) return FramingFailure::kGroupsTooDeep;
      if (groups_ == nullptr) groups_ = static_cast<uint32_t*>(malloc(kMaxGroups * sizeof(uint32_t)));
      if (groups_ == nullptr) return FramingFailure::kOutOfMemory;
      groups_[group_count_++] = number;
      break;
    case 4:
      if (group_count_ == 0 || groups_[group_count_ - 1] != number) return FramingFailure::kGroup;
      group_count_--;
      break;
    case 5:
      field->body_bytes = 4;
      break;
    default:
      return FramingFailure::kWireType;
  }
  *complete = true;
  return FramingFailure::kNone;
}

FramingFailure ChunkDecoder::BeginBody(const Field& field) {
  consumed_ += field.header_bytes;
  body_left_ = field.body_bytes;
  const uint64_t end = consumed_ + field.body_bytes;
  if (message_bytes_ != kUnknown && end > message_bytes_) return FramingFailure::kTruncated;
  body_ = Body::kSkip;
  if (field.is_data) {
    held_bytes_ = 0;
    body_ = end == message_bytes_ ? Body::kStream : Body::kHold;
  }
  return FramingFailure::kNone;
}

FramingFailure ChunkDecoder::Hold(Bytes piece) {
  const size_t needed = held_bytes_ + piece.size;
  if (needed > held_capacity_) {
    const size_t capacity = needed > 2 * held_capacity_ ? needed : 2 * held_capacity_;
    auto* grown = static_cast<uint8_t*>(realloc(held_, capacity));
    if (grown == nullptr) return FramingFailure::kOutOfMemory;
    held_ = grown;
    held_capacity_ = capacity;
  }
  memcpy(held_ + held_bytes_, piece.data, piece.size);
  held_bytes_ = needed;
  return FramingFailure::kNone;
}

void ChunkDecoder::Release() {
  free(held_);
  held_ = nullptr;
  held_bytes_ = held_capacity_ = 0;
  free(groups_);
  groups_ = nullptr;
}

}  // namespace upstreamproxy
