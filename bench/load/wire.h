// Wire protocol v1 (docs/protocol.md) as far as load tools and baselines need it: one chunk to a message, one message to
// a frame. Payload is handed on in the pieces it comes in, never collected.
#pragma once
#include <cstdint>
#include <cstring>

namespace bench {

// Frame header, mask key, chunk header.
constexpr size_t HEADROOM = 14 + 6;

inline void maskInPlace(uint8_t* bytes, size_t length, const uint8_t key[4], size_t phase) {
  uint8_t turned[8];
  for (size_t i = 0; i < 8; i++) turned[i] = key[(phase + i) & 3];
  uint64_t word;
  memcpy(&word, turned, 8);
  size_t i = 0;
  for (; i + 8 <= length; i += 8) {
    uint64_t part;
    memcpy(&part, bytes + i, 8);
    part ^= word;
    memcpy(bytes + i, &part, 8);
  }
  for (; i < length; i++) bytes[i] ^= turned[i & 7];
}

// Writes both headers right before `payload` (which has HEADROOM bytes in front of it) and masks if there is a key.
// Returns where the frame begins; it ends with the payload.
inline uint8_t* frameInPlace(uint8_t* payload, size_t length, const uint8_t* key) {
  uint8_t head[HEADROOM];
  uint8_t chunk[6] = {0x0a};
  size_t chunkBytes = 1;
  for (size_t left = length;;) {
    chunk[chunkBytes++] = static_cast<uint8_t>(left > 0x7f ? (left & 0x7f) | 0x80 : left);
    if (left <= 0x7f) break;
    left >>= 7;
  }
  const size_t message = length + chunkBytes;
  const uint8_t masked = key != nullptr ? 0x80 : 0;
  size_t at = 0;
  head[at++] = 0x82;
  if (message < 126) {
    head[at++] = static_cast<uint8_t>(masked | message);
  } else if (message < 65536) {
    head[at++] = masked | 126;
    head[at++] = static_cast<uint8_t>(message >> 8);
    head[at++] = static_cast<uint8_t>(message);
  } else {
    head[at++] = masked | 127;
    for (int shift = 56; shift >= 0; shift -= 8) head[at++] = static_cast<uint8_t>(static_cast<uint64_t>(message) >> shift);
  }
  if (key != nullptr) {
    memcpy(head + at, key, 4);
    at += 4;
  }
  uint8_t* const start = payload - chunkBytes;
  memcpy(start, chunk, chunkBytes);
  if (key != nullptr) maskInPlace(start, message, key, 0);
  memcpy(start - at, head, at);
  return start - at;
}

// Frames in, payload and control frames out. Sink: `bool payload(uint8_t*, size_t)`,
// `bool control(uint8_t opcode, const uint8_t*, size_t)`; false ends the connection.
class Decoder {
 public:
  // Bytes are unmasked where they lie.
  template <class Sink>
  bool feed(uint8_t* bytes, size_t length, Sink& sink) {
    while (length > 0) {
      if (!inFrame_) {
        const size_t took = takeHeader(bytes, length);
        if (took == 0) return false;
        bytes += took;
        length -= took;
        if (inFrame_ && left_ == 0 && !endFrame(sink)) return false;
        continue;
      }
      size_t now = length < left_ ? length : static_cast<size_t>(left_);
      if (masked_) maskInPlace(bytes, now, key_, phase_);
      phase_ += now;
      left_ -= now;
      length -= now;
      if (opcode_ >= 8) {
        memcpy(control_ + controlBytes_, bytes, now);
        controlBytes_ += now;
        bytes += now;
      } else {
        while (now > 0 && !inPayload_) {
          if (!takeChunkHeader(*bytes++)) return false;
          now--;
        }
        if (now > payloadLeft_) return false;
        payloadLeft_ -= now;
        if (now > 0 && !sink.payload(bytes, now)) return false;
        bytes += now;
      }
      if (left_ == 0 && !endFrame(sink)) return false;
    }
    return true;
  }

 private:
  size_t takeHeader(const uint8_t* bytes, size_t length) {
    size_t took = 0;
    while (took < length && headBytes_ < wanted()) head_[headBytes_++] = bytes[took++];
    if (headBytes_ < 2 || headBytes_ < wanted()) return took;
    opcode_ = head_[0] & 0x0f;
    masked_ = (head_[1] & 0x80) != 0;
    left_ = head_[1] & 0x7f;
    size_t at = 2;
    if (left_ >= 126) {
      const size_t more = left_ == 126 ? 2 : 8;
      left_ = 0;
      for (size_t i = 0; i < more; i++) left_ = left_ << 8 | head_[at++];
    }
    if (masked_) memcpy(key_, head_ + at, 4);
    // Whole binary messages and control frames, without extensions: what a relay of this protocol sends.
    const bool control = opcode_ >= 8 && left_ <= 125;
    if ((head_[0] & 0xf0) != 0x80 || (opcode_ != 2 && !control)) return 0;
    inFrame_ = true;
    headBytes_ = phase_ = controlBytes_ = chunkBytes_ = shift_ = 0;
    payloadLeft_ = 0;
    inPayload_ = false;
    return took;
  }

  size_t wanted() const {
    if (headBytes_ < 2) return 2;
    const uint8_t length = head_[1] & 0x7f;
    return 2 + (length == 126 ? 2u : length == 127 ? 8u : 0u) + ((head_[1] & 0x80) != 0 ? 4u : 0u);
  }

  bool takeChunkHeader(uint8_t byte) {
    if (chunkBytes_++ == 0) return byte == 0x0a;
    payloadLeft_ |= static_cast<uint64_t>(byte & 0x7f) << shift_;
    shift_ += 7;
    inPayload_ = (byte & 0x80) == 0;
    return shift_ < 35;
  }

  template <class Sink>
  bool endFrame(Sink& sink) {
    inFrame_ = false;
    if (opcode_ >= 8) return sink.control(opcode_, control_, controlBytes_);
    return payloadLeft_ == 0 && (chunkBytes_ == 0 || inPayload_);
  }

  uint8_t head_[14];
  size_t headBytes_ = 0;
  bool inFrame_ = false;
  uint8_t opcode_ = 0;
  bool masked_ = false;
  uint8_t key_[4];
  uint64_t left_ = 0;
  size_t phase_ = 0;
  uint8_t control_[125];
  size_t controlBytes_ = 0;
  size_t chunkBytes_ = 0;
  size_t shift_ = 0;
  bool inPayload_ = false;
  uint64_t payloadLeft_ = 0;
};

// A control frame, complete; returns its length. Room for 2 + 4 + length bytes.
inline size_t controlFrame(uint8_t* into, uint8_t opcode, const uint8_t* payload, size_t length, const uint8_t* key) {
  into[0] = 0x80 | opcode;
  into[1] = static_cast<uint8_t>(length | (key != nullptr ? 0x80 : 0));
  size_t at = 2;
  if (key != nullptr) {
    memcpy(into + at, key, 4);
    at += 4;
  }
  memcpy(into + at, payload, length);
  if (key != nullptr) maskInPlace(into + at, length, key, 0);
  return at + length;
}

}  // namespace bench
