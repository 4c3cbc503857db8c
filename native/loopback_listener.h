// Listens on 127.0.0.1 and accepts.
//
// Rule 1: loopback and nothing else (invariant 7).
// Rule 2: what is accepted never blocks, is not inherited by children, and sends small writes at once (TCP_NODELAY).
#ifndef UPSTREAMPROXY_LOOPBACK_LISTENER_H_
#define UPSTREAMPROXY_LOOPBACK_LISTENER_H_

#include <stdint.h>

#include "system_result.h"

namespace upstreamproxy {

class LoopbackListener {
 public:
  LoopbackListener() = default;
  ~LoopbackListener() { Close(); }
  LoopbackListener(const LoopbackListener&) = delete;
  LoopbackListener& operator=(const LoopbackListener&) = delete;

  // Port 0: any free one. EADDRINUSE, EACCES, EMFILE.
  SystemResult Listen(uint16_t port, int backlog);

  // A connection that waits; -1 where none does. ECONNABORTED and the like are passed over. EMFILE, ENFILE, ENOBUFS, ENOMEM:
  // it goes on waiting.
  SystemResult Accept(int* descriptor);

  void Close();

  int descriptor() const { return descriptor_; }
  // 0 before Listen
  uint16_t port() const { return port_; }

 private:
  SystemResult Bind(uint16_t port, int backlog);

  int descriptor_ = -1;
  uint16_t port_ = 0;
};

}  // namespace upstreamproxy

#endif  // UPSTREAMPROXY_LOOPBACK_LISTENER_H_
