// A client's WebSocket frame around a chunk, made in place (RFC 6455 §5.2; wire protocol v1).
//
// Rule 1: one message, one frame, one buffer: a second buffer would cost TLS an allocation and a copy.
// Rule 2: lengths are written in their shortest form, the chunk's varint too.
#ifndef UPSTREAMPROXY_FRAME_ENCODER_H_
#define UPSTREAMPROXY_FRAME_ENCODER_H_

#include <stddef.h>
#include <stdint.h>

namespace upstreamproxy {

// 2 + 8 bytes of length + 4 of key, then a chunk's tag and its longest varint.
constexpr size_t kFrameHeadroom = 20;

// Largest payload of a chunk that is sent.
constexpr size_t kMaxChunkBytes = 512 * 1024;

// Bytes that go before a payload of so many bytes (at most kMaxChunkBytes).
size_t FrameHeaderBytes(size_t payload_bytes);

// Writes chunk header, key and frame header just before `payload`, and masks what follows the key. There must be
// FrameHeaderBytes(payload_bytes) bytes before it. Returns where the frame starts.
uint8_t* EncodeFrame(uint8_t* payload, size_t payload_bytes, uint32_t key);

// XORs with the key's four bytes, over and over, as they lie in memory (RFC 6455 §5.3).
void Mask(uint8_t* data, size_t size, uint32_t key);

}  // namespace upstreamproxy

#endif  // UPSTREAMPROXY_FRAME_ENCODER_H_
