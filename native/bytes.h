// A run of bytes that belongs to somebody else.
#ifndef UPSTREAMPROXY_BYTES_H_
#define UPSTREAMPROXY_BYTES_H_

#include <stddef.h>
#include <stdint.h>

namespace upstreamproxy {

struct Bytes {
  const uint8_t* data = nullptr;
  size_t size = 0;
};

}  // namespace upstreamproxy

#endif  // UPSTREAMPROXY_BYTES_H_
