// One tunnel as the gateway has it: TLS, upgrade, CONNECT, and then what its job says (job.h).
#pragma once
#include <openssl/evp.h>
#include <strings.h>
#include <sys/epoll.h>
#include <string>
#include <vector>
#include "channel.h"
#include "job.h"
#include "pattern.h"
#include "wire.h"

namespace bench {

inline const Pattern pattern;
inline const std::string ANSWER = "HTTP/1.1 200 Connection Established\r\n\r\n";
// What the whole product asks for before it relays anything.
inline std::string caPem;
constexpr size_t MOST_QUEUED = 1024 * 1024;
constexpr size_t MOST_AT_ONCE = 512 * 1024;

inline std::string base64(const uint8_t* bytes, int length) {
  std::string text(static_cast<size_t>((length + 2) / 3 * 4 + 1), '\0');
  text.resize(static_cast<size_t>(EVP_EncodeBlock(reinterpret_cast<uint8_t*>(text.data()), bytes, length)));
  return text;
}

inline std::string acceptOf(const std::string& key) {
  const std::string joined = key + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";
  uint8_t digest[EVP_MAX_MD_SIZE];
  unsigned length = 0;
  EVP_Digest(joined.data(), joined.size(), digest, &length, EVP_sha1(), nullptr);
  return base64(digest, static_cast<int>(length));
}

inline std::string headerOf(const std::string& head, const char* name) {
  for (size_t at = head.find("\r\n"); at != std::string::npos; at = head.find("\r\n", at + 2)) {
    const char* const line = head.data() + at + 2;
    if (strncasecmp(line, name, strlen(name)) != 0 || line[strlen(name)] != ':') continue;
    const size_t start = head.find_first_not_of(' ', at + 2 + strlen(name) + 1);
    return head.substr(start, head.find("\r\n", start) - start);
  }
  return "";
}

class Tunnel {
 public:
  Tunnel(int fd, SSL_CTX* context) : channel_(fd, context, true) {}

  int fd() const { return channel_.fd(); }
  bool isEcho() const { return job_.echo; }
  // Bytes that epoll does not know of: it wants another turn.
  bool wantsTurn() const { return channel_.pending() && channel_.queued() <= MOST_QUEUED; }
  bool hasMoreToSend() const { return channel_.queued() > 0 || (started_ && sent_ < (job_.source ? job_.bytes : 0)); }

  // False: it is over.
  bool onEvent(uint32_t events, uint8_t* arena) {
    if ((events & EPOLLOUT) != 0 && !channel_.flush()) return false;
    if ((events & (EPOLLIN | EPOLLHUP | EPOLLERR)) != 0 && !take(arena)) return false;
    return send();
  }

  // The decoder's sink.
  bool payload(uint8_t* bytes, size_t length) {
    if (phase_ != Phase::open) {
      head_.append(reinterpret_cast<char*>(bytes), length);
      return takeConnect();
    }
    if (job_.echo) return message(bytes, length);
    if (job_.source) started_ = true;
    if (!job_.sink || wrong_) return true;
    wrong_ = got_ + length > job_.bytes || !pattern.matches(job_.seed, got_, bytes, length);
    got_ += length;
    if (wrong_) return say("X");
    return got_ < job_.bytes || job_.source || say("K");
  }

  bool control(uint8_t opcode, const uint8_t* bytes, size_t length) {
    uint8_t frame[2 + 125];
    if (opcode == 0x9) return channel_.write(frame, controlFrame(frame, 0xa, bytes, length, nullptr));
    if (opcode != 0x8) return true;
    channel_.write(frame, controlFrame(frame, 0x8, bytes, length < 2 ? length : 2, nullptr));
    return false;
  }

 private:
  enum class Phase { head, connect, open };

  bool take(uint8_t* arena) {
    // An echo that is not read is not fed.
    if (channel_.queued() > MOST_QUEUED) return true;
    size_t got = 0;
    const Channel::Read result = channel_.read(arena, READ_BYTES, &got);
    if (result == Channel::Read::nothing) return true;
    return result == Channel::Read::bytes && takeBytes(arena, got);
  }

  bool takeBytes(uint8_t* bytes, size_t length) {
    if (phase_ == Phase::head) {
      const size_t before = head_.size();
      head_.append(reinterpret_cast<char*>(bytes), length);
      const size_t end = head_.find("\r\n\r\n");
      if (end == std::string::npos) return head_.size() < 16384;
      if (head_.compare(0, 8, "CONNECT ") == 0) return takeConnect();
      bytes += end + 4 - before;
      length -= end + 4 - before;
      head_.resize(end + 2);
      if (!upgrade()) return false;
      head_.clear();
      if (!websocket_) return true;
    }
    return websocket_ ? decoder_.feed(bytes, length, *this) : payload(bytes, length);
  }

  // Only what decides: this is no conformance suite, but a relay that leaves the credentials out has less to do.
  bool upgrade() {
    if (head_.rfind("GET /v1/code/upstreamproxy/ca-cert ", 0) == 0) return sendCa();
    const std::string key = headerOf(head_, "Sec-WebSocket-Key");
    if (head_.rfind("GET /v1/code/upstreamproxy/ws ", 0) != 0 || key.empty()) return false;
    if (headerOf(head_, "Authorization").empty() || headerOf(head_, "Content-Type") != "application/proto") return false;
    websocket_ = true;
    phase_ = Phase::connect;
    const std::string answer =
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: " +
        acceptOf(key) + "\r\n\r\n";
    return channel_.write(reinterpret_cast<const uint8_t*>(answer.data()), answer.size());
  }

  bool sendCa() {
    const std::string answer = "HTTP/1.1 200 OK\r\nContent-Type: application/x-pem-file\r\nConnection: close\r\nContent-Length: " +
                               std::to_string(caPem.size()) + "\r\n\r\n" + caPem;
    return channel_.write(reinterpret_cast<const uint8_t*>(answer.data()), answer.size());
  }

  bool takeConnect() {
    const size_t end = head_.find("\r\n\r\n");
    if (end == std::string::npos) return head_.size() < 16384;
    if (head_.compare(0, 8, "CONNECT ") != 0 || !parseJob(head_.c_str() + 8, &job_)) return false;
    phase_ = Phase::open;
    if (!say(ANSWER)) return false;
    std::string early = head_.substr(end + 4);
    head_ = std::string();
    return early.empty() || payload(reinterpret_cast<uint8_t*>(early.data()), early.size());
  }

  bool say(const std::string& text) { return message(reinterpret_cast<const uint8_t*>(text.data()), text.size()); }

  bool message(const uint8_t* bytes, size_t length) {
    if (!websocket_) return channel_.write(bytes, length);
    static thread_local std::vector<uint8_t> arena(HEADROOM + 512 * 1024);
    uint8_t* const payload = arena.data() + HEADROOM;
    memcpy(payload, bytes, length);
    uint8_t* const frame = frameInPlace(payload, length, nullptr);
    return channel_.write(frame, static_cast<size_t>(payload + length - frame));
  }

  // A bounded turn; epoll comes back while there is more.
  bool send() {
    if (!started_) return true;
    for (size_t turn = 0; turn < MOST_AT_ONCE && sent_ < job_.bytes && channel_.queued() == 0;) {
      const uint64_t left = job_.bytes - sent_;
      const size_t now = static_cast<size_t>(left < job_.chunk ? left : job_.chunk);
      if (!message(pattern.at(downSeed(job_.seed), sent_), now)) return false;
      sent_ += now;
      turn += now;
    }
    // Both ways: the verdict on what came up follows all that goes down.
    if (job_.sink && sent_ == job_.bytes && got_ == job_.bytes && !said_) {
      said_ = true;
      return say("K");
    }
    return true;
  }

  Channel channel_;
  Decoder decoder_;
  Phase phase_ = Phase::head;
  bool websocket_ = false;
  std::string head_;
  Job job_;
  uint64_t got_ = 0;
  uint64_t sent_ = 0;
  bool started_ = false;
  bool said_ = false;
  bool wrong_ = false;
};

}  // namespace bench
