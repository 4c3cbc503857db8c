// The floor: two sockets and a buffer. TCP in, TCP out to one port; reads of 256 KiB, no framing, no TLS, no CONNECT.
//
//   copy GATEWAY_PORT          prints {"port":N}
//
// A direction has one buffer, taken when it has bytes that the other side did not take at once.
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

enum { BUFFER = 256 * 1024 };

struct end {
  int fd;
  struct end *other;
  char *left;  // bytes for this end that it has not taken yet
  size_t from, to;
};

static int epoll;

static void die(const char *what) {
  perror(what);
  exit(1);
}

static struct sockaddr_in loopback(int port) {
  struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(port)};
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  return address;
}

static void watch(int operation, struct end *end) {
  // Reads where the other end is free to take it, writes where something is left.
  struct epoll_event event = {.data.ptr = end};
  event.events = (end->other->left ? 0 : EPOLLIN) | (end->left ? EPOLLOUT : 0);
  if (epoll_ctl(epoll, operation, end->fd, &event) != 0) die("epoll_ctl");
}

static int writeLeft(struct end *end) {
  const ssize_t count = send(end->fd, end->left + end->from, end->to - end->from, MSG_NOSIGNAL);
  if (count < 0) return errno == EAGAIN;
  end->from += count;
  if (end->from < end->to) return 1;
  free(end->left);
  end->left = NULL;
  watch(EPOLL_CTL_MOD, end);
  watch(EPOLL_CTL_MOD, end->other);
  return 1;
}

static int copy(struct end *end) {
  static char buffer[BUFFER];
  const ssize_t got = recv(end->fd, buffer, BUFFER, 0);
  if (got <= 0) return got < 0 && errno == EAGAIN;
  ssize_t sent = send(end->other->fd, buffer, got, MSG_NOSIGNAL);
  if (sent < 0 && errno != EAGAIN) return 0;
  if (sent < 0) sent = 0;
  if (sent == got) return 1;
  struct end *const slow = end->other;
  slow->left = malloc(got - sent);
  memcpy(slow->left, buffer + sent, got - sent);
  slow->from = 0;
  slow->to = got - sent;
  watch(EPOLL_CTL_MOD, slow);
  watch(EPOLL_CTL_MOD, end);
  return 1;
}

static void open_(int client, int gatewayPort) {
  const int on = 1;
  const int gateway = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  struct sockaddr_in address = loopback(gatewayPort);
  if (connect(gateway, (struct sockaddr *)&address, sizeof address) != 0) die("connect");
  setsockopt(client, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
  setsockopt(gateway, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
  // On loopback a connect is done at once. Nothing after it may wait.
  fcntl(gateway, F_SETFL, O_NONBLOCK);
  struct end *const pair = calloc(2, sizeof *pair);
  pair[0] = (struct end){.fd = client, .other = &pair[1]};
  pair[1] = (struct end){.fd = gateway, .other = &pair[0]};
  watch(EPOLL_CTL_ADD, &pair[0]);
  watch(EPOLL_CTL_ADD, &pair[1]);
}

int main(int count, char **arguments) {
  if (count != 2) {
    fprintf(stderr, "copy GATEWAY_PORT\n");
    return 64;
  }
  const int gatewayPort = atoi(arguments[1]);
  signal(SIGPIPE, SIG_IGN);
  struct rlimit limit;
  getrlimit(RLIMIT_NOFILE, &limit);
  limit.rlim_cur = limit.rlim_max;
  setrlimit(RLIMIT_NOFILE, &limit);
  const int listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  struct sockaddr_in address = loopback(0);
  socklen_t length = sizeof address;
  if (bind(listener, (struct sockaddr *)&address, sizeof address) != 0) die("bind");
  if (listen(listener, 4096) != 0) die("listen");
  getsockname(listener, (struct sockaddr *)&address, &length);
  epoll = epoll_create1(EPOLL_CLOEXEC);
  struct epoll_event event = {.events = EPOLLIN, .data.ptr = NULL};
  epoll_ctl(epoll, EPOLL_CTL_ADD, listener, &event);
  printf("{\"port\":%d}\n", ntohs(address.sin_port));
  fflush(stdout);
  struct epoll_event events[256];
  for (;;) {
    const int ready = epoll_wait(epoll, events, 256, -1);
    struct end *gone[256];
    int lost = 0;
    for (int i = 0; i < ready; i++) {
      struct end *const end = events[i].data.ptr;
      if (!end) {
        int client;
        while ((client = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC)) >= 0) open_(client, gatewayPort);
        continue;
      }
      if (end->fd < 0) continue;
      const int writable = events[i].events & EPOLLOUT, readable = events[i].events & ~EPOLLOUT;
      if ((!writable || writeLeft(end)) && (!readable || end->other->left || copy(end))) continue;
      // Freed after this round: its other end may still come up in it.
      close(end->fd);
      close(end->other->fd);
      free(end->left);
      free(end->other->left);
      end->fd = end->other->fd = -1;
      gone[lost++] = end < end->other ? end : end->other;
    }
    while (lost > 0) free(gone[--lost]);
  }
}
