#include "loopback_listener.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

namespace upstreamproxy {

SystemResult LoopbackListener::Listen(uint16_t port, int backlog) {
  const SystemResult result = Bind(port, backlog);
  if (!result.ok()) Close();
  return result;
}

SystemResult LoopbackListener::Bind(uint16_t port, int backlog) {
  descriptor_ = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  if (descriptor_ < 0) return {errno, "socket"};
  const int on = 1;
  // Without it a port whose connections linger could not be taken again.
  if (setsockopt(descriptor_, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)) != 0) return {errno, "setsockopt"};
  // Accepted sockets inherit it.
  if (setsockopt(descriptor_, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on)) != 0) return {errno, "setsockopt"};
  struct sockaddr_in address;
  memset(&address, 0, sizeof(address));
  address.sin_family = AF_INET;
  address.sin_port = htons(port);
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  auto* generic = reinterpret_cast<struct sockaddr*>(&address);
  socklen_t length = sizeof(address);
  if (bind(descriptor_, generic, length) != 0) return {errno, "bind"};
  if (listen(descriptor_, backlog) != 0) return {errno, "listen"};
  if (getsockname(descriptor_, generic, &length) != 0) return {errno, "getsockname"};
  port_ = ntohs(address.sin_port);
  return {};
}

SystemResult LoopbackListener::Accept(int* descriptor) {
  for (;;) {
    *descriptor = accept4(descriptor_, nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (*descriptor >= 0 || errno == EAGAIN || errno == EWOULDBLOCK) return {};
    // The connection that was to be accepted is gone, or has an error of its own (accept(2)): the next one may do.
    if (errno != ECONNABORTED && errno != EINTR && errno != EPROTO && errno != EPERM) return {errno, "accept4"};
  }
}

void LoopbackListener::Close() {
  if (descriptor_ >= 0) close(descriptor_);
  descriptor_ = -1;
}

}  // namespace upstreamproxy
