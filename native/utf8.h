#ifndef UPSTREAMPROXY_UTF8_H_
#define UPSTREAMPROXY_UTF8_H_

#include "bytes.h"

namespace upstreamproxy {

// Whether it is well-formed UTF-8 (RFC 3629: no surrogates, nothing over U+10FFFF, shortest forms).
bool IsUtf8(Bytes text);

}  // namespace upstreamproxy

#endif  // UPSTREAMPROXY_UTF8_H_
