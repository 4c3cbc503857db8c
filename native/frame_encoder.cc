#include "frame_encoder.h"

#include <string.h>

namespace upstreamproxy {
namespace {

constexpr uint8_t kFinalBinary = 0x82;
constexpr uint8_t kMasked = 0x80;
constexpr uint8_t kDataTag = 0x0a;
constexpr size_t kKeyBytes = 4;

size_t VarintBytes(size_t value) {
  size_t bytes = 1;
  for (; value >= 0x80; value >>= 7) bytes++;
  return bytes;
}

size_t LengthBytes(size_t message_bytes) { return message_bytes < 126 ? 0 : message_bytes < 0x10000 ? 2 : 8; }

}  // namespace

size_t FrameHeaderBytes(size_t payload_bytes) {
  const size_t chunk_header = 1 + VarintBytes(payload_bytes);
  return 2 + LengthBytes(chunk_header + payload_bytes) + kKeyBytes + chunk_header;
}

uint8_t* EncodeFrame(uint8_t* payload, size_t payload_bytes, uint32_t key) {
  uint8_t* message = payload - VarintBytes(payload_bytes) - 1;
  uint8_t* at = message;
  *at++ = kDataTag;
  size_t left = payload_bytes;
  for (; left >= 0x80; left >>= 7) *at++ = static_cast<uint8_t>(left | 0x80);
  *at = static_cast<uint8_t>(left);

  const size_t message_bytes = static_cast<size_t>(payload - message) + payload_bytes;
  const size_t length_bytes = LengthBytes(message_bytes);
  Mask(message, message_bytes, key);
  memcpy(message - kKeyBytes, &key, kKeyBytes);
  uint8_t* frame = message - kKeyBytes - length_bytes - 2;
  frame[0] = kFinalBinary;
  if (length_bytes == 0) {
    frame[1] = static_cast<uint8_t>(kMasked | message_bytes);
    return frame;
  }
  frame[1] = kMasked | (length_bytes == 2 ? 126 : 127);
  for (size_t i = 0; i < length_bytes; i++)
    frame[2 + i] = static_cast<uint8_t>(static_cast<uint64_t>(message_bytes) >> (8 * (length_bytes - 1 - i)));
  return frame;
}

void Mask(uint8_t* data, size_t size, uint32_t key) {
  // Eight bytes a turn through memcpy, which compilers turn into vector instructions for any alignment.
  const uint64_t wide = static_cast<uint64_t>(key) << 32 | key;
  size_t at = 0;
  for (; at + sizeof(wide) <= size; at += sizeof(wide)) {
    uint64_t word;
    memcpy(&word, data + at, sizeof(word));
    word ^= wide;
    memcpy(data + at, &word, sizeof(word));
  }
  uint8_t bytes[kKeyBytes];
  memcpy(bytes, &key, kKeyBytes);
  for (; at < size; at++) data[at] ^= bytes[at % kKeyBytes];
}

}  // namespace upstreamproxy
