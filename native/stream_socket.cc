#include "stream_socket.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

namespace upstreamproxy {
namespace {

// Pieces of one sendmsg: bounded by the kernel (IOV_MAX is 1024), and by what is worth a longer array.
constexpr int kMaxPieces = 64;

size_t Total(const struct iovec* pieces, size_t count) {
  size_t total = 0;
  for (size_t i = 0; i < count; i++) total += pieces[i].iov_len;
  return total;
}

}  // namespace

SystemResult StreamSocket::Open(int descriptor) {
  int type = 0;
  socklen_t length = sizeof(type);
  if (getsockopt(descriptor, SOL_SOCKET, SO_TYPE, &type, &length) != 0) return {errno, "getsockopt"};
  if (type != SOCK_STREAM) return {EPROTOTYPE, "getsockopt"};
  descriptor_ = fcntl(descriptor, F_DUPFD_CLOEXEC, 0);
  if (descriptor_ < 0) return {errno, "fcntl"};
  return {};
}

void StreamSocket::Adopt(int descriptor) { descriptor_ = descriptor; }

SystemResult StreamSocket::Read(uint8_t* into, size_t size, size_t* read) {
  *read = 0;
  if (descriptor_ < 0) return {EBADF, "recv"};
  ssize_t bytes;
  do {
    bytes = recv(descriptor_, into, size, MSG_DONTWAIT);
  } while (bytes < 0 && errno == EINTR);
  if (bytes < 0) return {errno, "recv"};
  *read = static_cast<size_t>(bytes);
  return {};
}

SystemResult StreamSocket::Write(const struct iovec* pieces, size_t count) {
  SystemResult result = Usable();
  if (!result.ok()) return result;
  const size_t total = Total(pieces, count);
  if (total > max_queued_bytes_ || queue_.size() > max_queued_bytes_ - total) return {ENOBUFS, "write"};

  size_t sent = 0;
  // Behind a queue there is nothing to try: the kernel has said that it is full.
  if (queue_.size() == 0 && total > 0) {
    result = Send(pieces, count, &sent);
    if (!result.ok()) return Break(result);
  }
  for (size_t i = 0; i < count; i++) {
    if (sent >= pieces[i].iov_len) {
      sent -= pieces[i].iov_len;
      continue;
    }
    const Bytes rest = {static_cast<const uint8_t*>(pieces[i].iov_base) + sent, pieces[i].iov_len - sent};
    sent = 0;
    // Some of it is with the kernel already: what is lost here is lost for good.
    if (!queue_.Append(rest)) return Break({ENOMEM, "malloc"});
  }
  return {};
}

SystemResult StreamSocket::End() {
  if (!failure_.ok()) return failure_;
  if (state_ != State::kOpen) return state_ == State::kDestroyed ? Usable() : SystemResult{};
  state_ = State::kEnding;
  return queue_.size() == 0 ? Shutdown() : SystemResult{};
}

SystemResult StreamSocket::Drain() {
  if (!failure_.ok() || descriptor_ < 0) return failure_;
  size_t budget = kDrainBytes;
  while (queue_.size() > 0 && budget > 0) {
    struct iovec pieces[kMaxPieces];
    int count = queue_.Front(pieces, kMaxPieces);
    size_t offered = 0;
    for (int i = 0; i < count; i++) {
      if (pieces[i].iov_len > budget - offered) pieces[i].iov_len = budget - offered;
      offered += pieces[i].iov_len;
      if (offered == budget) count = i + 1;
    }
    size_t sent = 0;
    const SystemResult result = Send(pieces, static_cast<size_t>(count), &sent);
    if (!result.ok()) return Break(result);
    queue_.Consume(sent);
    budget -= sent;
    if (sent < offered) break;
  }
  if (queue_.size() == 0 && state_ == State::kEnding) return Shutdown();
  return {};
}

void StreamSocket::Destroy() {
  queue_.Clear();
  state_ = State::kDestroyed;
  if (descriptor_ >= 0) close(descriptor_);
  descriptor_ = -1;
}

void StreamSocket::Reset() {
  const struct linger at_once = {1, 0};
  if (descriptor_ >= 0) setsockopt(descriptor_, SOL_SOCKET, SO_LINGER, &at_once, sizeof(at_once));
  Destroy();
}

SystemResult StreamSocket::Usable() const {
  if (!failure_.ok()) return failure_;
  if (state_ != State::kOpen) return {EPIPE, "write"};
  return {};
}

// Gives the kernel what it takes at once. That it takes nothing (EAGAIN) or a part is no failure.
SystemResult StreamSocket::Send(const struct iovec* pieces, size_t count, size_t* sent) {
  size_t at = 0;
  while (at < count) {
    struct msghdr message;
    memset(&message, 0, sizeof(message));
    message.msg_iov = const_cast<struct iovec*>(pieces + at);
    const size_t batch = count - at < kMaxPieces ? count - at : kMaxPieces;
    message.msg_iovlen = batch;
    ssize_t bytes;
    do {
      bytes = sendmsg(descriptor_, &message, MSG_DONTWAIT | MSG_NOSIGNAL);
    } while (bytes < 0 && errno == EINTR);
    if (bytes < 0) {
      if (errno == EAGAIN || errno == EWOULDBLOCK) return {};
      return {errno, "sendmsg"};
    }
    *sent += static_cast<size_t>(bytes);
    // A part: the kernel is full, and asking again would only hear so.
    if (static_cast<size_t>(bytes) < Total(pieces + at, batch)) return {};
    at += batch;
  }
  return {};
}

SystemResult StreamSocket::Shutdown() {
  if (shutdown(descriptor_, SHUT_WR) != 0) return Break({errno, "shutdown"});
  state_ = State::kEnded;
  return {};
}

SystemResult StreamSocket::Break(SystemResult result) {
  failure_ = result;
  queue_.Clear();
  return result;
}

}  // namespace upstreamproxy
