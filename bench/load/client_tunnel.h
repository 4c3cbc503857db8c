// One tunnel as its client has it: CONNECT, the answer, and then bytes up, bytes down, or pings. What is wrong ends the
// process, with the reason as a line of JSON.
#pragma once
#include <stdio.h>
#include <time.h>
#include <algorithm>
#include <string>
#include <vector>
#include "channel.h"
#include "job.h"
#include "pattern.h"
#include "sockets.h"

namespace bench {

inline const Pattern pattern;

struct Settings {
  uint16_t port = 0;
  std::string kind;
  uint64_t tunnels = 1, bytes = 0, chunk = 64 * 1024, message = 64, pauseUs = 2000, seconds = 5;
  uint64_t connects = 100, concurrency = 1, gapUs = 0, endless = 0, onSchedule = 0;
};

inline double now() {
  timespec time;
  clock_gettime(CLOCK_MONOTONIC, &time);
  return static_cast<double>(time.tv_sec) + static_cast<double>(time.tv_nsec) / 1e9;
}

// What a relay answered may be in it: only what JSON takes as it is stays.
[[noreturn]] inline void fail(std::string why) {
  for (char& each : why)
    if (each < ' ' || each == '"' || each == '\\' || each > '~') each = '.';
  printf("{\"event\":\"failed\",\"why\":\"%s\"}\n", why.c_str());
  fflush(stdout);
  _exit(1);
}

class ClientTunnel {
 public:
  ClientTunnel(const Settings& settings, uint64_t seed)
      : settings_(settings), seed_(seed), since_(now()), channel_(connectTo(settings.port), nullptr, false) {}

  int fd() const { return channel_.fd(); }
  bool open() const { return open_; }
  bool done() const { return done_; }
  double since() const { return since_; }
  double firstByteAt() const { return firstByteAt_; }
  uint64_t moved() const { return sent_ + got_; }
  bool wantsToWrite() const { return !said_ || channel_.queued() > 0 || (going_ && sendsBulk() && sent_ < settings_.bytes); }
  std::vector<double> rounds;

  void go() {
    going_ = true;
    if (settings_.kind == "down" && !channel_.write(reinterpret_cast<const uint8_t*>("g"), 1)) fail("broken at the start");
  }

  void ping() {
    if (waiting_ && settings_.onSchedule != 0) overdue_.push_back(now());
    if (waiting_ || done_) return;
    waiting_ = true;
    got_ = 0;
    pingedAt_ = now();
    if (!channel_.write(pattern.at(seed_, 0), settings_.message)) fail("broken at a ping");
  }

  void onEvent(uint32_t events, uint8_t* arena) {
    if ((events & EPOLLOUT) != 0) write();
    if ((events & (EPOLLIN | EPOLLHUP | EPOLLERR)) != 0) read(arena);
  }

 private:
  bool sendsBulk() const { return settings_.kind == "up" || settings_.kind == "both"; }

  void write() {
    if (!said_) {
      said_ = true;
      const std::string kind = settings_.kind == "connect" ? "echo" : settings_.kind;
      const std::string host = hostOf(kind.c_str(), settings_.bytes, seed_, settings_.chunk);
      const std::string head = "CONNECT " + host + ":443 HTTP/1.1\r\nHost: " + host + ":443\r\n\r\n";
      if (!channel_.write(reinterpret_cast<const uint8_t*>(head.data()), head.size())) fail("the relay broke at the CONNECT");
      return;
    }
    if (!channel_.flush()) fail("the relay broke while it was written to");
    // A bounded turn: other tunnels have theirs.
    for (size_t turn = 0; turn < 512 * 1024 && going_ && sendsBulk() && sent_ < settings_.bytes && channel_.queued() == 0;) {
      const size_t size = static_cast<size_t>(std::min(settings_.bytes - sent_, settings_.chunk));
      if (!channel_.write(pattern.at(seed_, sent_), size)) fail("the relay broke while it was written to");
      sent_ += size;
      turn += size;
    }
  }

  void read(uint8_t* arena) {
    size_t length = 0;
    const Channel::Read result = channel_.read(arena, READ_BYTES, &length);
    if (result == Channel::Read::nothing) return;
    if (result != Channel::Read::bytes) fail("a tunnel ended after " + std::to_string(got_) + " bytes" + (open_ ? "" : ", before its answer: " + head_.substr(0, 60)));
    if (!open_) return takeAnswer(arena, length);
    take(arena, length);
  }

  void takeAnswer(const uint8_t* bytes, size_t length) {
    if (head_.empty()) firstByteAt_ = now();
    head_.append(reinterpret_cast<const char*>(bytes), length);
    const size_t end = head_.find("\r\n\r\n");
    if (end == std::string::npos) return;
    if (head_.compare(9, 3, "200") != 0) fail("refused: " + head_.substr(0, head_.find("\r\n")));
    open_ = true;
    const std::string rest = head_.substr(end + 4);
    if (!rest.empty()) take(reinterpret_cast<const uint8_t*>(rest.data()), rest.size());
  }

  void take(const uint8_t* bytes, size_t length) {
    if (settings_.kind == "echo") return takeEcho(bytes, length);
    const uint64_t expected = settings_.kind == "up" ? 0 : settings_.bytes;
    const size_t data = static_cast<size_t>(std::min<uint64_t>(length, expected - got_));
    if (data > 0 && !pattern.matches(downSeed(seed_), got_, bytes, data)) fail("bytes that came down are not those that were sent");
    got_ += data;
    if (length > data) takeVerdict(bytes[data], length - data);
    if (settings_.kind == "down" && got_ == expected) done_ = true;
  }

  void takeVerdict(uint8_t verdict, size_t length) {
    if (verdict != 'K' || length != 1) fail("bytes that went up are not those that were sent");
    if (sent_ < settings_.bytes) fail("the gateway had enough too early");
    done_ = true;
  }

  void takeEcho(const uint8_t* bytes, size_t length) {
    if (got_ + length > settings_.message || !pattern.matches(seed_, got_, bytes, length)) fail("the echo is not what was sent");
    got_ += length;
    if (got_ < settings_.message) return;
    waiting_ = false;
    const double at = now();
    rounds.push_back(at - pingedAt_);
    for (const double due : overdue_) rounds.push_back(at - due);
    overdue_.clear();
  }

  const Settings& settings_;
  const uint64_t seed_;
  const double since_;
  Channel channel_;
  bool said_ = false, open_ = false, going_ = false, done_ = false, waiting_ = false;
  std::string head_;
  std::vector<double> overdue_;
  double firstByteAt_ = 0, pingedAt_ = 0;
  uint64_t sent_ = 0, got_ = 0;
};

}  // namespace bench
