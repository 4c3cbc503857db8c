// What a decoder gave, kept whole: for comparing one way of cutting with another.
#ifndef UPSTREAMPROXY_TEST_RECORDER_H_
#define UPSTREAMPROXY_TEST_RECORDER_H_

#include <string>

#include "../frame_decoder.h"

namespace upstreamproxy {

struct Recorder final : PayloadSink {
  std::string payload;

  void Take(Bytes piece) override { payload.append(reinterpret_cast<const char*>(piece.data), piece.size); }
  void TakePassing(Bytes piece) override { Take(piece); }
};

struct Outcome {
  std::string payload;
  std::string last_ping;
  unsigned events = 0;
  uint16_t close_code = 0;
  FramingFailure failure = FramingFailure::kNone;
  bool between_messages = true;

  bool operator==(const Outcome& other) const {
    return payload == other.payload && last_ping == other.last_ping && events == other.events &&
           close_code == other.close_code && failure == other.failure && between_messages == other.between_messages;
  }
};

// Decodes `bytes`, cut after as many as `cut` says each time (at least one). Every piece is copied to memory of its own
// size, so that a sanitizer sees a read beyond its end.
template <typename Cut>
Outcome Decode(const uint8_t* bytes, size_t size, uint64_t max_message_bytes, Cut cut) {
  FrameDecoder decoder(max_message_bytes);
  Recorder recorder;
  Outcome outcome;
  size_t at = 0;
  while (at < size) {
    const size_t wanted = cut();
    const size_t step = wanted < 1 ? 1 : wanted < size - at ? wanted : size - at;
    auto* piece = new uint8_t[step];
    for (size_t i = 0; i < step; i++) piece[i] = bytes[at + i];
    outcome.events |= decoder.Push({piece, step}, &recorder);
    delete[] piece;
    at += step;
  }
  Bytes ping;
  if (decoder.TakePing(&ping)) outcome.last_ping.assign(reinterpret_cast<const char*>(ping.data), ping.size);
  outcome.payload = recorder.payload;
  outcome.close_code = decoder.close_code();
  outcome.failure = decoder.failure();
  outcome.between_messages = decoder.between_messages();
  return outcome;
}

}  // namespace upstreamproxy

#endif  // UPSTREAMPROXY_TEST_RECORDER_H_
