// Bytes that wait for a socket, in order, in blocks.
#ifndef UPSTREAMPROXY_WRITE_QUEUE_H_
#define UPSTREAMPROXY_WRITE_QUEUE_H_

#include <sys/uio.h>

#include "bytes.h"

namespace upstreamproxy {

class WriteQueue {
 public:
  WriteQueue() = default;
  ~WriteQueue() { Clear(); }
  WriteQueue(const WriteQueue&) = delete;
  WriteQueue& operator=(const WriteQueue&) = delete;

  size_t size() const { return size_; }

  // Copies them behind what is there; false where there is no memory for them (then the queue is as it was).
  bool Append(Bytes bytes);

  // The first bytes, in at most `max` pieces; returns how many pieces.
  int Front(struct iovec* pieces, int max) const;

  // Takes away the first `bytes` (at most `size()`).
  void Consume(size_t bytes);

  void Clear();

 private:
  struct Block;

  Block* first_ = nullptr;
  Block* last_ = nullptr;
  size_t size_ = 0;
};

}  // namespace upstreamproxy

#endif  // UPSTREAMPROXY_WRITE_QUEUE_H_
