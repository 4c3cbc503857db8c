// What the load tools send: bytes that tell where they belong. Position i of the stream with seed s is byte
// (s * STRIDE + i) mod PERIOD of one block of noise, so a byte that is lost, doubled, altered, out of order, or of
// another tunnel is noticed by the receiver, for the price of one memcmp.
#pragma once
#include <cstdint>
#include <cstring>
#include <vector>

namespace bench {

class Pattern {
 public:
  // No multiple of any size that a relay might cut at.
  static constexpr uint64_t PERIOD = (1 << 20) - 3;
  static constexpr uint64_t LONGEST = 1 << 19;

  Pattern() : bytes_(PERIOD + LONGEST) {
    uint64_t state = 0x9e3779b97f4a7c15;
    for (uint64_t i = 0; i < PERIOD; i++) {
      state ^= state << 13;
      state ^= state >> 7;
      state ^= state << 17;
      bytes_[i] = static_cast<uint8_t>(state >> 24);
    }
    memcpy(bytes_.data() + PERIOD, bytes_.data(), LONGEST);
  }

  // At least LONGEST bytes can be read from here.
  const uint8_t* at(uint64_t seed, uint64_t position) const {
    return bytes_.data() + (seed * STRIDE + position) % PERIOD;
  }

  bool matches(uint64_t seed, uint64_t position, const uint8_t* bytes, size_t length) const {
    while (length > 0) {
      const size_t now = length < LONGEST ? length : LONGEST;
      if (memcmp(at(seed, position), bytes, now) != 0) return false;
      bytes += now;
      position += now;
      length -= now;
    }
    return true;
  }

 private:
  static constexpr uint64_t STRIDE = 7919;
  std::vector<uint8_t> bytes_;
};

}  // namespace bench
