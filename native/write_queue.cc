#include "write_queue.h"

#include <stdlib.h>
#include <string.h>

namespace upstreamproxy {
namespace {

// A block takes what there is to keep, and has room for what follows it. Under malloc's threshold for mmap (128 KiB),
// so that a queue that comes and goes costs no system call.
constexpr size_t kMinBlockBytes = 16 * 1024 - 64;
constexpr size_t kMaxBlockBytes = 64 * 1024 - 64;

size_t Smaller(size_t a, size_t b) { return a < b ? a : b; }

}  // namespace

struct WriteQueue::Block {
  Block* next;
  size_t capacity;
  size_t begin;
  size_t end;

  uint8_t* bytes() { return reinterpret_cast<uint8_t*>(this + 1); }
  size_t room() const { return capacity - end; }

  static Block* Make(size_t wanted) {
    const size_t capacity = wanted < kMinBlockBytes ? kMinBlockBytes : Smaller(wanted, kMaxBlockBytes);
    auto* block = static_cast<Block*>(malloc(sizeof(Block) + capacity));
    if (block != nullptr) *block = {nullptr, capacity, 0, 0};
    return block;
  }
};

bool WriteQueue::Append(Bytes bytes) {
  // All the blocks first, so that nothing is kept in part.
  size_t room = last_ == nullptr ? 0 : last_->room();
  Block* fresh = nullptr;
  Block** end = &fresh;
  while (room < bytes.size) {
    Block* block = Block::Make(bytes.size - room);
    if (block == nullptr) {
      while (fresh != nullptr) {
        Block* next = fresh->next;
        free(fresh);
        fresh = next;
      }
      return false;
    }
    room += block->capacity;
    *end = block;
    end = &block->next;
  }
  Block* into = last_ == nullptr ? fresh : last_;
  if (last_ == nullptr) {
    first_ = fresh;
  } else {
    last_->next = fresh;
  }
  size_t at = 0;
  while (at < bytes.size) {
    if (into->room() == 0) into = into->next;
    const size_t step = Smaller(into->room(), bytes.size - at);
    memcpy(into->bytes() + into->end, bytes.data + at, step);
    into->end += step;
    at += step;
  }
  if (into != nullptr) last_ = into;
  size_ += bytes.size;
  return true;
}

int WriteQueue::Front(struct iovec* pieces, int max) const {
  int count = 0;
  for (Block* block = first_; block != nullptr && count < max; block = block->next) {
    if (block->end == block->begin) continue;
    pieces[count++] = {block->bytes() + block->begin, block->end - block->begin};
  }
  return count;
}

void WriteQueue::Consume(size_t bytes) {
  size_ -= bytes;
  while (first_ != nullptr) {
    const size_t step = Smaller(bytes, first_->end - first_->begin);
    first_->begin += step;
    bytes -= step;
    if (first_->begin != first_->end) return;
    Block* next = first_->next;
    free(first_);
    first_ = next;
  }
  last_ = nullptr;
}

void WriteQueue::Clear() { Consume(size_); }

}  // namespace upstreamproxy
