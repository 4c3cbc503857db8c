#include "utf8.h"

namespace upstreamproxy {
namespace {

bool IsBetween(uint8_t byte, uint8_t low, uint8_t high) { return byte >= low && byte <= high; }

// Bytes of the sequence that `lead` begins, and the range of its second byte (RFC 3629 §4); 0 where it begins none.
size_t SequenceBytes(uint8_t lead, uint8_t* low, uint8_t* high) {
  *low = 0x80;
  *high = 0xbf;
  if (lead < 0x80) return 1;
  if (IsBetween(lead, 0xc2, 0xdf)) return 2;
  if (IsBetween(lead, 0xe0, 0xef)) {
    if (lead == 0xe0) *low = 0xa0;
    if (lead == 0xed) *high = 0x9f;
    return 3;
  }
  if (IsBetween(lead, 0xf0, 0xf4)) {
    if (lead == 0xf0) *low = 0x90;
    if (lead == 0xf4) *high = 0x8f;
    return 4;
  }
  return 0;
}

}  // namespace

bool IsUtf8(Bytes text) {
  size_t at = 0;
  while (at < text.size) {
    uint8_t low, high;
    const size_t length = SequenceBytes(text.data[at], &low, &high);
    if (length == 0 || length > text.size - at) return false;
    for (size_t i = 1; i < length; i++) {
      if (!IsBetween(text.data[at + i], low, high)) return false;
      low = 0x80;
      high = 0xbf;
    }
    at += length;
  }
  return true;
}

}  // namespace upstreamproxy
