#include "framing_failure.h"

namespace upstreamproxy {

const char* FailureCode(FramingFailure failure) {
  switch (failure) {
    case FramingFailure::kFieldTag:
    case FramingFailure::kFieldNumber:
    case FramingFailure::kWireType:
    case FramingFailure::kVarint:
    case FramingFailure::kGroup:
    case FramingFailure::kGroupsTooDeep:
    case FramingFailure::kTruncated:
      return "ERR_CHUNK_MALFORMED";
    case FramingFailure::kMessageTooLarge:
    case FramingFailure::kFieldTooLarge:
    case FramingFailure::kOutOfMemory:
      return "ERR_CHUNK_TOO_LARGE";
    default:
      return "ERR_GATEWAY_PROTOCOL";
  }
}

const char* FailureText(FramingFailure failure) {
  switch (failure) {
    case FramingFailure::kNone:
      return "nothing is wrong";
    case FramingFailure::kReservedBits:
      return "a frame with a reserved bit, although no extension is agreed";
    case FramingFailure::kOpcode:
      return "a frame with an opcode that does not exist";
    case FramingFailure::kMasked:
      return "a masked frame from a server";
    case FramingFailure::kText:
      return "a text message";
    case FramingFailure::kContinuationOfNothing:
      return "a continuation of no message";
    case FramingFailure::kMessageInsideMessage:
      return "a message begins inside another";
    case FramingFailure::kControlFrame:
      return "a control frame that is fragmented or over 125 bytes";
    case FramingFailure::kFrameLength:
      return "a frame length over 53 bits";
    case FramingFailure::kCloseFrame:
      return "a Close with an invalid code or reason";
    case FramingFailure::kMessageTooLarge:
      return "a message over the limit";
    case FramingFailure::kFieldTag:
      return "a field tag over 32 bits";
    case FramingFailure::kFieldNumber:
      return "field number 0";
    case FramingFailure::kWireType:
      return "a wire type that does not exist";
    case FramingFailure::kVarint:
      return "a varint longer than its kind allows";
    case FramingFailure::kGroup:
      return "the end of a group that is not open";
    case FramingFailure::kGroupsTooDeep:
      return "groups nested too deep";
    case FramingFailure::kTruncated:
      return "the message ends inside a field";
    case FramingFailure::kFieldTooLarge:
      return "a field over the limit";
    case FramingFailure::kOutOfMemory:
      return "no memory to hold a message";
  }
  return "";
}

}  // namespace upstreamproxy
