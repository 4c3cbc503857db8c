// The gateway's side of every measurement: takes tunnels as wire protocol v1 has them, over TLS and without, or as a bare
// CONNECT proxy for relays that do not speak it; sinks, sources and echoes as the CONNECT's host says (job.h).
//
//   gateway --cert FILE --key FILE [--ca FILE] [--threads N]
//
// Prints one line of JSON with its ports: `plain`; `tls`; `full`, which is TLS that resumes no session. Ends with its stdin.
#include <openssl/ssl.h>
#include <signal.h>
#include <algorithm>
#include <fstream>
#include <iterator>
#include <string>
#include <thread>
#include <vector>
#include "sockets.h"
#include "tunnel.h"

using namespace bench;

namespace {

struct Listener {
  int fd;
  SSL_CTX* context;
};

// One thread: its listeners, its tunnels. Echoes move to a thread of their own, which goes first, so that what a ping-pong
// feels of bulk transfers beside it is the relay's doing and not the gateway's.
class Server {
 public:
  Server(std::vector<Listener> listeners, const Server* echoes) : listeners_(std::move(listeners)), echoes_(echoes) {
    for (Listener& one : listeners_) watch(epoll_, EPOLL_CTL_ADD, one.fd, EPOLLIN, &one);
  }

  void run() {
    if (echoes_ == nullptr) goFirst();
    std::vector<epoll_event> events(256);
    std::vector<Tunnel*> turns;
    for (;;) {
      const int count = epoll_wait(epoll_, events.data(), static_cast<int>(events.size()), turns.empty() ? -1 : 0);
      // Who has bytes in OpenSSL's hands; each has one turn a round, by epoll or by this.
      std::vector<Tunnel*> now;
      now.swap(turns);
      for (int i = 0; i < count; i++) {
        auto* const listener = static_cast<Listener*>(events[i].data.ptr);
        if (listener >= listeners_.data() && listener < listeners_.data() + listeners_.size()) {
          acceptFrom(*listener);
          continue;
        }
        auto* const tunnel = static_cast<Tunnel*>(events[i].data.ptr);
        now.erase(std::remove(now.begin(), now.end(), tunnel), now.end());
        turn(tunnel, events[i].events, &turns);
      }
      for (Tunnel* tunnel : now) turn(tunnel, EPOLLIN, &turns);
    }
  }

 private:
  void acceptFrom(const Listener& listener) {
    for (int turn = 0; turn < 64; turn++) {
      const int fd = accept4(listener.fd, nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC);
      if (fd < 0) return;
      watch(epoll_, EPOLL_CTL_ADD, fd, EPOLLIN, new Tunnel(fd, listener.context));
    }
  }

  void turn(Tunnel* tunnel, uint32_t events, std::vector<Tunnel*>* turns) {
    if (!tunnel->onEvent(events, arena_.data())) {
      delete tunnel;
      return;
    }
    const uint32_t wanted = tunnel->hasMoreToSend() ? EPOLLIN | EPOLLOUT : EPOLLIN;
    if (tunnel->wantsTurn()) {
      turns->push_back(tunnel);
    } else if (echoes_ != nullptr && tunnel->isEcho()) {
      epoll_ctl(epoll_, EPOLL_CTL_DEL, tunnel->fd(), nullptr);
      return watch(echoes_->epoll_, EPOLL_CTL_ADD, tunnel->fd(), wanted, tunnel);
    }
    watch(epoll_, EPOLL_CTL_MOD, tunnel->fd(), wanted, tunnel);
  }

  const int epoll_ = epoll_create1(EPOLL_CLOEXEC);
  std::vector<Listener> listeners_;
  const Server* const echoes_;
  std::vector<uint8_t> arena_ = std::vector<uint8_t>(READ_BYTES);
};

SSL_CTX* serverContext(const char* cert, const char* key, bool resumes) {
  SSL_CTX* const context = SSL_CTX_new(TLS_server_method());
  if (SSL_CTX_use_certificate_chain_file(context, cert) != 1) die(cert);
  if (SSL_CTX_use_PrivateKey_file(context, key, SSL_FILETYPE_PEM) != 1) die(key);
  tuneForBulk(context);
  if (resumes) return context;
  SSL_CTX_set_num_tickets(context, 0);
  SSL_CTX_set_options(context, SSL_OP_NO_TICKET);
  SSL_CTX_set_session_cache_mode(context, SSL_SESS_CACHE_OFF);
  return context;
}

}  // namespace

int main(int argc, char** argv) {
  const char *cert = nullptr, *key = nullptr, *ca = nullptr;
  int threads = 2;
  for (int i = 1; i + 1 < argc; i += 2) {
    const std::string name = argv[i];
    if (name == "--cert") cert = argv[i + 1];
    if (name == "--key") key = argv[i + 1];
    if (name == "--ca") ca = argv[i + 1];
    if (name == "--threads") threads = atoi(argv[i + 1]);
  }
  if (cert == nullptr || key == nullptr) {
    fprintf(stderr, "gateway --cert FILE --key FILE [--ca FILE] [--threads N]\n");
    return 64;
  }
  if (ca != nullptr) {
    std::ifstream file(ca);
    caPem.assign(std::istreambuf_iterator<char>(file), {});
  }
  signal(SIGPIPE, SIG_IGN);
  allowManyDescriptors();
  SSL_CTX* const contexts[] = {nullptr, serverContext(cert, key, true), serverContext(cert, key, false)};
  uint16_t ports[3] = {0, 0, 0};
  std::vector<std::thread> running;
  auto* const echoes = new Server({}, nullptr);
  running.emplace_back([=] { echoes->run(); });
  for (int thread = 0; thread < threads; thread++) {
    std::vector<Listener> listeners;
    for (int i = 0; i < 3; i++) listeners.push_back({listenOn(&ports[i]), contexts[i]});
    auto* const server = new Server(std::move(listeners), echoes);
    running.emplace_back([=] { server->run(); });
  }
  printf("{\"plain\":%u,\"tls\":%u,\"full\":%u}\n", ports[0], ports[1], ports[2]);
  fflush(stdout);
  char byte;
  while (read(0, &byte, 1) > 0) continue;
  _exit(0);
}
