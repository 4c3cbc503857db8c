// What can break the framing, in a closed list; framing_failure.cc says each in words.
#ifndef UPSTREAMPROXY_FRAMING_FAILURE_H_
#define UPSTREAMPROXY_FRAMING_FAILURE_H_

namespace upstreamproxy {

enum class FramingFailure {
  kNone,
  // frames
  kReservedBits,
  kOpcode,
  kMasked,
  kText,
  kContinuationOfNothing,
  kMessageInsideMessage,
  kControlFrame,
  kFrameLength,
  kCloseFrame,
  kMessageTooLarge,
  // chunks
  kFieldTag,
  kFieldNumber,
  kWireType,
  kVarint,
  kGroup,
  kGroupsTooDeep,
  kTruncated,
  kFieldTooLarge,
  // the machine
  kOutOfMemory,
};

// One of ERR_GATEWAY_PROTOCOL, ERR_CHUNK_MALFORMED, ERR_CHUNK_TOO_LARGE (src/platform/framing.ts).
const char* FailureCode(FramingFailure failure);

const char* FailureText(FramingFailure failure);

}  // namespace upstreamproxy

#endif  // UPSTREAMPROXY_FRAMING_FAILURE_H_
