// Distance to the gateway: a TCP relay that holds each byte for half of the round trip, and the first of each side for the
// round trip that a connect over such a distance takes.
//
//   delay --to PORT --round-trip-ms N          prints {"port":N}; ends with its stdin
#include <netinet/tcp.h>
#include <signal.h>
#include <string.h>
#include <sys/timerfd.h>
#include <time.h>
#include <deque>
#include <string>
#include <vector>
#include "sockets.h"

using namespace bench;

namespace {

int epoll;
int64_t roundTripNs;
uint16_t target;

int64_t now() {
  timespec time;
  clock_gettime(CLOCK_MONOTONIC, &time);
  return time.tv_sec * 1000000000LL + time.tv_nsec;
}

struct Piece {
  int64_t due;
  std::vector<char> bytes;
};

// One end of a connection, with what is on its way to it.
struct End {
  int fd = -1;
  End* other = nullptr;
  int64_t openAt = 0;
  bool dead = false;
  std::deque<Piece> flight;

  void read() {
    char buffer[65536];
    for (;;) {
      const ssize_t got = recv(fd, buffer, sizeof buffer, 0);
      if (got < 0) return;
      const int64_t from = now() > openAt ? now() : openAt;
      // Nothing in a piece: the end.
      other->flight.push_back({from + roundTripNs / 2, std::vector<char>(buffer, buffer + got)});
      if (got == 0) {
        watch(epoll, EPOLL_CTL_MOD, fd, 0, this);
        return;
      }
    }
  }

  void deliver(int64_t time) {
    while (!flight.empty() && flight.front().due <= time) {
      Piece& piece = flight.front();
      if (piece.bytes.empty()) {
        shutdown(fd, SHUT_WR);
      } else {
        const ssize_t sent = send(fd, piece.bytes.data(), piece.bytes.size(), MSG_NOSIGNAL);
        if (sent < 0 && errno == EAGAIN) return;
        if (sent >= 0 && static_cast<size_t>(sent) < piece.bytes.size()) {
          piece.bytes.erase(piece.bytes.begin(), piece.bytes.begin() + sent);
          return;
        }
      }
      flight.pop_front();
    }
  }
};

End* open(int client) {
  auto* const ends = new End[2];
  ends[0].fd = client;
  ends[1].fd = connectTo(target);
  ends[0].other = &ends[1];
  ends[1].other = &ends[0];
  ends[0].openAt = now() + roundTripNs;
  const int on = 1;
  for (int i = 0; i < 2; i++) setsockopt(ends[i].fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
  for (int i = 0; i < 2; i++) watch(epoll, EPOLL_CTL_ADD, ends[i].fd, EPOLLIN, &ends[i]);
  return ends;
}

}  // namespace

int main(int argc, char** argv) {
  for (int i = 1; i + 1 < argc; i += 2) {
    if (strcmp(argv[i], "--to") == 0) target = static_cast<uint16_t>(atoi(argv[i + 1]));
    if (strcmp(argv[i], "--round-trip-ms") == 0) roundTripNs = atoll(argv[i + 1]) * 1000000;
  }
  if (target == 0) {
    fprintf(stderr, "delay --to PORT --round-trip-ms N\n");
    return 64;
  }
  signal(SIGPIPE, SIG_IGN);
  allowManyDescriptors();
  uint16_t port = 0;
  const int listener = listenOn(&port);
  epoll = epoll_create1(EPOLL_CLOEXEC);
  const int timer = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC);
  const itimerspec often = {{0, 250000}, {0, 250000}};
  timerfd_settime(timer, 0, &often, nullptr);
  char isListener, isTimer, isStdin;
  watch(epoll, EPOLL_CTL_ADD, listener, EPOLLIN, &isListener);
  watch(epoll, EPOLL_CTL_ADD, timer, EPOLLIN, &isTimer);
  watch(epoll, EPOLL_CTL_ADD, 0, EPOLLIN, &isStdin);
  printf("{\"port\":%u}\n", port);
  fflush(stdout);
  std::vector<End*> pairs;
  std::vector<epoll_event> events(256);
  for (;;) {
    const int count = epoll_wait(epoll, events.data(), static_cast<int>(events.size()), -1);
    for (int i = 0; i < count; i++) {
      void* const what = events[i].data.ptr;
      if (what == &isStdin) {
        char byte;
        if (read(0, &byte, 1) <= 0) return 0;
      } else if (what == &isListener) {
        for (int fd; (fd = accept4(listener, nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC)) >= 0;) pairs.push_back(open(fd));
      } else if (what == &isTimer) {
        uint64_t ticks;
        if (read(timer, &ticks, sizeof ticks) < 0) continue;
        for (size_t at = 0; at < pairs.size();) {
          End* const pair = pairs[at];
          for (int side = 0; side < 2; side++) pair[side].deliver(now());
          if ((pair[0].dead || pair[1].dead) && pair[0].flight.empty() && pair[1].flight.empty()) {
            close(pair[0].fd);
            close(pair[1].fd);
            delete[] pair;
            pairs[at] = pairs.back();
            pairs.pop_back();
          } else {
            at++;
          }
        }
      } else {
        auto* const end = static_cast<End*>(what);
        if ((events[i].events & EPOLLIN) != 0) end->read();
        if ((events[i].events & (EPOLLHUP | EPOLLERR)) != 0 && !end->dead) {
          end->dead = true;
          epoll_ctl(epoll, EPOLL_CTL_DEL, end->fd, nullptr);
        }
      }
    }
  }
}
