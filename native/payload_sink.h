// Where decoded payload goes, piece by piece, in order.
#ifndef UPSTREAMPROXY_PAYLOAD_SINK_H_
#define UPSTREAMPROXY_PAYLOAD_SINK_H_

#include "bytes.h"

namespace upstreamproxy {

class PayloadSink {
 public:
  // A piece of what was pushed: it stays as it is until the push is over.
  virtual void Take(Bytes piece) = 0;
  // A piece that is gone when this returns.
  virtual void TakePassing(Bytes piece) = 0;

 protected:
  ~PayloadSink() = default;
};

}  // namespace upstreamproxy

#endif  // UPSTREAMPROXY_PAYLOAD_SINK_H_
