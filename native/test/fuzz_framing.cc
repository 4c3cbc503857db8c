// For libFuzzer: whatever a gateway sends, however it is cut, comes out alike; and what we send, a decoder reads back.
// The first byte says which and how, the rest are the bytes.
#include <string.h>

#include <string>

#include "../frame_encoder.h"
#include "check.h"
#include "recorder.h"

using upstreamproxy::Decode;
using upstreamproxy::FrameEvent;
using upstreamproxy::FramingFailure;
using upstreamproxy::Outcome;

namespace {

constexpr uint64_t kCap = 4096;

void DecodesAlikeHoweverItIsCut(const uint8_t* bytes, size_t size, uint8_t seed) {
  const Outcome whole = Decode(bytes, size, kCap, [size] { return size; });
  const Outcome single = Decode(bytes, size, kCap, [] { return size_t{1}; });
  unsigned state = seed + 1u;
  const Outcome random = Decode(bytes, size, kCap, [&state] {
    state = state * 1103515245 + 12345;
    return size_t{1} + (state >> 16) % 40;
  });
  CHECK(whole == single);
  CHECK(whole == random);
  CHECK((whole.failure != FramingFailure::kNone) == ((whole.events & upstreamproxy::kEventFailed) != 0));
  CHECK((whole.close_code != 0) == ((whole.events & upstreamproxy::kEventClosed) != 0));
  CHECK(whole.payload.size() <= size);
  CHECK(FailureCode(whole.failure)[0] == 'E' && FailureText(whole.failure)[0] != '\0');
}

// Our own frames carry a mask, which a client's decoder refuses: it is taken off first, by the letter of RFC 6455 §5.3.
void ReadsBackWhatIsSent(const uint8_t* bytes, size_t size, uint8_t seed) {
  const size_t offset = upstreamproxy::kFrameHeadroom + seed % 8;
  std::string arena(offset, '\0');
  arena.append(reinterpret_cast<const char*>(bytes), size);
  auto* base = reinterpret_cast<uint8_t*>(&arena[0]);
  const uint8_t key[4] = {seed, static_cast<uint8_t>(seed * 7), static_cast<uint8_t>(~seed), 0x5a};
  uint32_t key_word;
  memcpy(&key_word, key, sizeof(key_word));
  uint8_t* frame = upstreamproxy::EncodeFrame(base + offset, size, key_word);
  const size_t header = static_cast<size_t>(base + offset - frame);
  CHECK(header == upstreamproxy::FrameHeaderBytes(size));

  const uint8_t length = frame[1] & 0x7f;
  const size_t start = 2 + (length == 126 ? 2 : length == 127 ? 8 : 0);
  CHECK((frame[1] & 0x80) != 0 && memcmp(frame + start, key, sizeof(key)) == 0);
  std::string plain(reinterpret_cast<char*>(frame), start);
  plain[1] = static_cast<char>(plain[1] & 0x7f);
  for (size_t i = start + 4; i < header + size; i++)
    plain.push_back(static_cast<char>(frame[i] ^ key[(i - start - 4) % 4]));
  const Outcome outcome =
      Decode(reinterpret_cast<const uint8_t*>(plain.data()), plain.size(), 1 << 20, [&plain] { return plain.size(); });
  CHECK(outcome.failure == FramingFailure::kNone && outcome.between_messages);
  CHECK(outcome.payload == std::string(reinterpret_cast<const char*>(bytes), size));
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size == 0) return 0;
  if ((data[0] & 0x80) == 0) {
    DecodesAlikeHoweverItIsCut(data + 1, size - 1, data[0]);
  } else {
    ReadsBackWhatIsSent(data + 1, size - 1, data[0]);
  }
  return 0;
}
