// Reads and writes a connected stream socket without ever blocking, through a descriptor of its own.
//
// Rule 1: the kernel is tried at once, with one sendmsg; what it does not take is copied and waits. Bytes leave in the
//         order in which they came, each once, or the writer is broken and says so.
// Rule 2: no event loop in here: whoever has one calls Drain when the socket is writable (wants_writable), and Read when it
//         is readable.
// Rule 3: no signal (MSG_NOSIGNAL), whatever the peer does; and no change to the socket's own flags (MSG_DONTWAIT).
#ifndef UPSTREAMPROXY_STREAM_SOCKET_H_
#define UPSTREAMPROXY_STREAM_SOCKET_H_

#include <sys/uio.h>

#include "system_result.h"
#include "write_queue.h"

namespace upstreamproxy {

class StreamSocket {
 public:
  // The most that Drain gives to the kernel in one go, so that one tunnel does not keep others waiting.
  static constexpr size_t kDrainBytes = 1024 * 1024;

  explicit StreamSocket(size_t max_queued_bytes) : max_queued_bytes_(max_queued_bytes) {}
  ~StreamSocket() { Destroy(); }
  StreamSocket(const StreamSocket&) = delete;
  StreamSocket& operator=(const StreamSocket&) = delete;

  // Duplicates the descriptor, which must be a stream socket's. EBADF, ENOTSOCK, EPROTOTYPE, EMFILE.
  SystemResult Open(int descriptor);

  // Takes over a descriptor that is the caller's alone, and a stream socket's.
  void Adopt(int descriptor);

  // Reads what is there, at most `size` bytes, in one recv. `*read` is 0 at the end of the stream. EAGAIN where nothing is
  // there; else what the kernel answered.
  SystemResult Read(uint8_t* into, size_t size, size_t* read);

  // Writes the pieces in order. ENOBUFS where they could lift the queue over its cap: then nothing has been sent, and
  // the writer goes on. EPIPE after End or Destroy. Else what the kernel answered: the writer is broken from then on.
  SystemResult Write(const struct iovec* pieces, size_t count);

  // Flushes, then shuts down the writing side. Twice is once.
  SystemResult End();

  // Gives the kernel more of the queue, up to kDrainBytes; shuts down where End has been called and all is gone.
  SystemResult Drain();

  // Drops the queue and closes the descriptor: no FIN, no RST, as long as another one is open.
  void Destroy();

  // Gives up: nothing can be written any more, and every call says why.
  SystemResult Break(SystemResult result);

  // The same with a RST in place of what has not been delivered.
  void Reset();

  // The descriptor to watch; -1 after Destroy.
  int descriptor() const { return descriptor_; }
  size_t queued_bytes() const { return queue_.size(); }
  bool broken() const { return !failure_.ok(); }
  bool wants_writable() const { return descriptor_ >= 0 && failure_.ok() && queue_.size() > 0; }
  // All has been written and the writing side is shut down.
  bool ended() const { return state_ == State::kEnded; }

 private:
  enum class State { kOpen, kEnding, kEnded, kDestroyed };

  SystemResult Usable() const;
  SystemResult Send(const struct iovec* pieces, size_t count, size_t* sent);
  SystemResult Shutdown();

  const size_t max_queued_bytes_;
  WriteQueue queue_;
  SystemResult failure_;
  int descriptor_ = -1;
  State state_ = State::kOpen;
};

}  // namespace upstreamproxy

#endif  // UPSTREAMPROXY_STREAM_SOCKET_H_
