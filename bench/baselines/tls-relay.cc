// The floor with TLS: the whole wire protocol of a relay (CONNECT, verified TLS, WebSocket upgrade, chunks, masking) on
// epoll and OpenSSL, one thread, reads of 256 KiB, frames made in place, all records of a read in one send(). It has no
// limits, deadlines, keepalives or errors of its own: it is what the work costs, not what a relay needs.
//
//   tls-relay ws|wss GATEWAY_PORT [CA_FILE]          prints {"port":N}
#include <openssl/rand.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <signal.h>
#include <algorithm>
#include <string>
#include <vector>
#include "../load/channel.h"
#include "../load/sockets.h"
#include "../load/wire.h"

using namespace bench;

namespace {

uint16_t gatewayPort;
SSL_CTX* context = nullptr;
SSL_SESSION* session = nullptr;
int epoll;
std::vector<uint8_t> arena(HEADROOM + READ_BYTES);

// Fresh keys, many to a call.
const uint8_t* freshKey() {
  static uint8_t keys[4096];
  static size_t used = sizeof keys;
  if (used == sizeof keys) {
    if (RAND_bytes(keys, sizeof keys) != 1) die("RAND_bytes");
    used = 0;
  }
  used += 4;
  return keys + used - 4;
}

class Tunnel {
 public:
  struct Side {
    Tunnel* tunnel;
    bool isClient;
    uint32_t events;
  };
  Side client{this, true, 0}, gateway{this, false, 0};

  explicit Tunnel(int fd) : client_(fd, nullptr, false), gateway_(connectTo(gatewayPort), context, false) {
    if (context != nullptr) {
      X509_VERIFY_PARAM_set1_ip_asc(SSL_get0_param(gateway_.ssl()), "127.0.0.1");
      if (session != nullptr) SSL_set_session(gateway_.ssl(), session);
    }
    watchSide(client, client_, EPOLLIN, EPOLL_CTL_ADD);
    watchSide(gateway, gateway_, EPOLLIN | EPOLLOUT, EPOLL_CTL_ADD);
  }

  bool dead = false;
  bool inTurns = false;
  // OpenSSL holds bytes that epoll knows nothing of, and the client would take them.
  bool wantsTurn() const { return gateway_.pending() && client_.queued() == 0; }

  bool onEvent(bool isClient, uint32_t events) {
    Channel& channel = isClient ? client_ : gateway_;
    if ((events & EPOLLOUT) != 0 && !channel.flush()) return false;
    if (!isClient && phase_ == Phase::connecting && (events & EPOLLOUT) != 0) {
      phase_ = Phase::handshake;
      if (!gateway_.handshake()) return false;
    }
    const bool readable = (events & (EPOLLIN | EPOLLHUP | EPOLLERR)) != 0;
    if (isClient ? readable && gateway_.queued() == 0 && !up() : readable && !down()) return false;
    if (phase_ == Phase::handshake && gateway_.established() && !upgrade()) return false;
    watchSide(client, client_, (gateway_.queued() == 0 && wantsClient() ? EPOLLIN : 0u) | wantsOut(client_), EPOLL_CTL_MOD);
    const uint32_t connecting = phase_ == Phase::connecting ? EPOLLOUT : 0u;
    watchSide(gateway, gateway_, (client_.queued() == 0 ? EPOLLIN : 0u) | wantsOut(gateway_) | connecting, EPOLL_CTL_MOD);
    return true;
  }

  // The decoder's sink.
  bool payload(uint8_t* bytes, size_t length) {
    spans_.push_back({bytes, length});
    return spans_.size() < MOST_SPANS || sendSpans();
  }
  bool control(uint8_t opcode, const uint8_t* bytes, size_t length) {
    uint8_t frame[2 + 4 + 125];
    if (opcode == 0x9) return gateway_.write(frame, controlFrame(frame, 0xa, bytes, length, freshKey()));
    if (opcode == 0x8) gateway_.write(frame, controlFrame(frame, 0x8, bytes, length < 2 ? length : 2, freshKey()));
    return opcode != 0x8;
  }

 private:
  enum class Phase { connecting, handshake, upgrading, open };

  static uint32_t wantsOut(const Channel& channel) { return channel.queued() > 0 ? EPOLLOUT : 0u; }
  bool wantsClient() const { return phase_ == Phase::open || head_.find("\r\n\r\n") == std::string::npos; }

  void watchSide(Side& side, Channel& channel, uint32_t events, int operation) {
    if (side.events == events && operation == EPOLL_CTL_MOD) return;
    side.events = events;
    watch(epoll, operation, channel.fd(), events, &side);
  }

  bool up() {
    uint8_t* const bytes = arena.data() + HEADROOM;
    size_t length = 0;
    const Channel::Read result = client_.read(bytes, READ_BYTES, &length);
    if (result == Channel::Read::nothing) return true;
    if (result != Channel::Read::bytes) {
      const uint8_t normal[] = {0x03, 0xe8};
      if (phase_ == Phase::open) control(0x8, normal, 2);
      return false;
    }
    if (phase_ == Phase::open) return sendFrame(bytes, length);
    head_.append(reinterpret_cast<char*>(bytes), length);
    return head_.size() < READ_BYTES;
  }

  bool sendFrame(uint8_t* payload, size_t length) {
    uint8_t* const frame = frameInPlace(payload, length, freshKey());
    return gateway_.write(frame, static_cast<size_t>(payload + length - frame));
  }

  bool upgrade() {
    if (head_.find("\r\n\r\n") == std::string::npos) return true;
    phase_ = Phase::upgrading;
    if (context != nullptr && SSL_get_verify_result(gateway_.ssl()) != X509_V_OK) return false;
    const std::string request =
        "GET /v1/code/upstreamproxy/ws HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: MDEyMzQ1Njc4OWFiY2RlZg==\r\nAuthorization: Bearer t\r\n"
        "Content-Type: application/proto\r\n\r\n";
    return gateway_.write(reinterpret_cast<const uint8_t*>(request.data()), request.size());
  }

  bool down() {
    if (client_.queued() > 0) return true;
    uint8_t* bytes = arena.data();
    size_t length = 0;
    const Channel::Read result = gateway_.read(bytes, READ_BYTES, &length);
    if (result == Channel::Read::nothing) return true;
    if (result != Channel::Read::bytes) return false;
    if (phase_ == Phase::upgrading) {
      const size_t before = answer_.size();
      answer_.append(reinterpret_cast<char*>(bytes), length);
      const size_t end = answer_.find("\r\n\r\n");
      if (end == std::string::npos) return answer_.size() < 8192;
      if (answer_.compare(0, 12, "HTTP/1.1 101") != 0) return false;
      phase_ = Phase::open;
      if (!sendConnect()) return false;
      bytes += end + 4 - before;
      length -= end + 4 - before;
    }
    return decoder_.feed(bytes, length, *this) && sendSpans();
  }

  // Whatever one read brought leaves in one call, however many frames it was.
  bool sendSpans() {
    const bool ok = spans_.empty() || client_.writeSpans(spans_.data(), spans_.size());
    spans_.clear();
    return ok;
  }

  bool sendConnect() {
    const size_t end = head_.find("\r\n\r\n") + 4;
    const std::string target = head_.substr(0, head_.find("\r\n"));
    const std::string early = head_.substr(end);
    std::string room(HEADROOM, '\0');
    room += target + "\r\nProxy-Authorization: Basic czp0\r\n\r\n";
    if (!sendFrame(reinterpret_cast<uint8_t*>(room.data()) + HEADROOM, room.size() - HEADROOM)) return false;
    if (early.empty()) return true;
    room = std::string(HEADROOM, '\0') + early;
    return sendFrame(reinterpret_cast<uint8_t*>(room.data()) + HEADROOM, early.size());
  }

  Channel client_, gateway_;
  Decoder decoder_;
  Phase phase_ = Phase::connecting;
  std::string head_, answer_;
  static std::vector<iovec> spans_;
  static constexpr size_t MOST_SPANS = 512;
};
std::vector<iovec> Tunnel::spans_;

void makeContext(const char* ca) {
  context = SSL_CTX_new(TLS_client_method());
  if (SSL_CTX_load_verify_locations(context, ca, nullptr) != 1) die(ca);
  SSL_CTX_set_verify(context, SSL_VERIFY_PEER, nullptr);
  tuneForBulk(context);
  SSL_CTX_set_session_cache_mode(context, SSL_SESS_CACHE_CLIENT | SSL_SESS_CACHE_NO_INTERNAL);
  SSL_CTX_sess_set_new_cb(context, [](SSL*, SSL_SESSION* fresh) {
    if (session != nullptr) SSL_SESSION_free(session);
    session = fresh;
    return 1;
  });
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 3 || (std::string(argv[1]) == "wss" && argc < 4)) {
    fprintf(stderr, "tls-relay ws|wss GATEWAY_PORT [CA_FILE]\n");
    return 64;
  }
  if (std::string(argv[1]) == "wss") makeContext(argv[3]);
  gatewayPort = static_cast<uint16_t>(atoi(argv[2]));
  signal(SIGPIPE, SIG_IGN);
  allowManyDescriptors();
  uint16_t port = 0;
  const int listener = listenOn(&port);
  epoll = epoll_create1(EPOLL_CLOEXEC);
  watch(epoll, EPOLL_CTL_ADD, listener, EPOLLIN, nullptr);
  printf("{\"port\":%u}\n", port);
  fflush(stdout);
  std::vector<epoll_event> events(256);
  std::vector<Tunnel*> turns, now, gone;
  // One read a turn, so that no tunnel keeps the others waiting.
  const auto turn = [&](Tunnel* tunnel, bool isClient, uint32_t what) {
    if (tunnel->dead) return;
    if (!tunnel->onEvent(isClient, what)) {
      tunnel->dead = true;
      gone.push_back(tunnel);
    } else if (tunnel->wantsTurn() && !tunnel->inTurns) {
      tunnel->inTurns = true;
      turns.push_back(tunnel);
    }
  };
  for (;;) {
    const int count = epoll_wait(epoll, events.data(), static_cast<int>(events.size()), turns.empty() ? -1 : 0);
    now.swap(turns);
    for (Tunnel* tunnel : now) tunnel->inTurns = false;
    for (int i = 0; i < count; i++) {
      auto* const side = static_cast<Tunnel::Side*>(events[i].data.ptr);
      if (side != nullptr) {
        turn(side->tunnel, side->isClient, events[i].events);
        continue;
      }
      for (int fd; (fd = accept4(listener, nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC)) >= 0;) new Tunnel(fd);
    }
    for (Tunnel* tunnel : now) turn(tunnel, false, EPOLLIN);
    now.clear();
    turns.erase(std::remove_if(turns.begin(), turns.end(), [](Tunnel* each) { return each->dead; }), turns.end());
    for (Tunnel* tunnel : gone) delete tunnel;
    gone.clear();
  }
}
