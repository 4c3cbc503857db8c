// A non-blocking TCP socket, with TLS on it or without, as cheap as OpenSSL allows: ciphertext is read 256 KiB at a
// time, and all records of one write leave in one send().
#pragma once
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>
#include <cstdint>
#include <vector>

namespace bench {

constexpr size_t READ_BYTES = 256 * 1024;

class Channel {
 public:
  enum class Read { bytes, nothing, end, broken };

  // `context` null: plain TCP. The descriptor is the channel's from here on.
  Channel(int fd, SSL_CTX* context, bool server) : fd_(fd) {
    const int on = 1;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    if (context == nullptr) return;
    ssl_ = SSL_new(context);
    BIO* const out = BIO_new(gatherMethod());
    BIO_set_data(out, this);
    SSL_set_bio(ssl_, BIO_new_socket(fd, BIO_NOCLOSE), out);
    SSL_set_read_ahead(ssl_, 1);
    server ? SSL_set_accept_state(ssl_) : SSL_set_connect_state(ssl_);
  }
  Channel(const Channel&) = delete;
  Channel& operator=(const Channel&) = delete;
  ~Channel() {
    if (ssl_ != nullptr) SSL_free(ssl_);
    close(fd_);
  }

  int fd() const { return fd_; }
  SSL* ssl() const { return ssl_; }
  size_t queued() const { return queue_.size() - sent_; }
  // Decrypted bytes that epoll does not know of: read again before waiting.
  bool pending() const { return ssl_ != nullptr && SSL_has_pending(ssl_); }

  // Fills `into` with what is there. Handshake bytes leave on the way.
  Read read(uint8_t* into, size_t room, size_t* got) {
    *got = 0;
    if (ssl_ == nullptr) {
      const ssize_t count = recv(fd_, into, room, 0);
      if (count > 0) *got = static_cast<size_t>(count);
      if (count > 0) return Read::bytes;
      if (count == 0) return Read::end;
      return errno == EAGAIN || errno == EINTR ? Read::nothing : Read::broken;
    }
    while (*got < room) {
      const int count = SSL_read(ssl_, into + *got, static_cast<int>(room - *got));
      if (count > 0) {
        *got += static_cast<size_t>(count);
        continue;
      }
      const int why = SSL_get_error(ssl_, count);
      if (!sendStaged()) return Read::broken;
      if (why == SSL_ERROR_WANT_READ) return *got > 0 ? Read::bytes : Read::nothing;
      ERR_clear_error();
      if (*got > 0) return Read::bytes;
      return why == SSL_ERROR_ZERO_RETURN ? Read::end : Read::broken;
    }
    return Read::bytes;
  }

  // Sends, and queues what the socket does not take. False: the connection is broken.
  bool write(const uint8_t* bytes, size_t length) {
    if (ssl_ == nullptr) return sendOrQueue(bytes, length);
    const int count = SSL_write(ssl_, bytes, static_cast<int>(length));
    return sendStaged() && count == static_cast<int>(length);
  }

  // Starts a client's handshake, so that its first record leaves.
  bool handshake() {
    if (ssl_ == nullptr) return true;
    const int done = SSL_do_handshake(ssl_);
    const int why = SSL_get_error(ssl_, done);
    return sendStaged() && (done == 1 || why == SSL_ERROR_WANT_READ);
  }
  bool established() const { return ssl_ == nullptr || SSL_is_init_finished(ssl_); }

  bool flush() {
    while (queued() > 0) {
      const ssize_t count = send(fd_, queue_.data() + sent_, queued(), MSG_NOSIGNAL);
      if (count < 0) return errno == EAGAIN || errno == EINTR;
      sent_ += static_cast<size_t>(count);
    }
    queue_.clear();
    sent_ = 0;
    return true;
  }

  // The same for many pieces, without TLS.
  bool writeSpans(iovec* spans, size_t count) {
    msghdr message{};
    message.msg_iov = spans;
    message.msg_iovlen = count;
    ssize_t sent = queued() > 0 ? 0 : sendmsg(fd_, &message, MSG_NOSIGNAL);
    if (sent < 0 && errno != EAGAIN && errno != EINTR) return false;
    for (size_t left = sent > 0 ? static_cast<size_t>(sent) : 0; count > 0; spans++, count--) {
      const size_t gone = left < spans->iov_len ? left : spans->iov_len;
      left -= gone;
      if (gone < spans->iov_len) queue(static_cast<uint8_t*>(spans->iov_base) + gone, spans->iov_len - gone);
    }
    return true;
  }

 private:
  void queue(const uint8_t* bytes, size_t length) { queue_.insert(queue_.end(), bytes, bytes + length); }

  bool sendOrQueue(const uint8_t* bytes, size_t length) {
    size_t done = 0;
    while (queued() == 0 && done < length) {
      const ssize_t count = send(fd_, bytes + done, length - done, MSG_NOSIGNAL);
      if (count < 0 && errno != EAGAIN && errno != EINTR) return false;
      if (count < 0) break;
      done += static_cast<size_t>(count);
    }
    if (done < length) queue(bytes + done, length - done);
    return true;
  }

  // The records that OpenSSL has just made; one buffer for all channels of a thread, since it is empty between calls.
  static std::vector<uint8_t>& staged() {
    static thread_local std::vector<uint8_t> records;
    return records;
  }

  bool sendStaged() {
    if (staged().empty()) return true;
    const bool ok = sendOrQueue(staged().data(), staged().size());
    staged().clear();
    return ok;
  }

  static int gather(BIO*, const char* bytes, int length) {
    staged().insert(staged().end(), bytes, bytes + length);
    return length;
  }

  static BIO_METHOD* gatherMethod() {
    static BIO_METHOD* const method = [] {
      BIO_METHOD* const made = BIO_meth_new(BIO_TYPE_SOURCE_SINK | BIO_get_new_index(), "gather");
      BIO_meth_set_write(made, gather);
      BIO_meth_set_ctrl(made, [](BIO*, int command, long, void*) -> long { return command == BIO_CTRL_FLUSH; });
      BIO_meth_set_create(made, [](BIO* bio) {
        BIO_set_init(bio, 1);
        return 1;
      });
      return made;
    }();
    return method;
  }

  const int fd_;
  SSL* ssl_ = nullptr;
  std::vector<uint8_t> queue_;
  size_t sent_ = 0;
};

// What both sides' contexts have in common. Buffers go back when idle, as any long-lived server would have it.
inline void tuneForBulk(SSL_CTX* context) {
  SSL_CTX_set_default_read_buffer_len(context, READ_BYTES);
  SSL_CTX_set_mode(context, SSL_MODE_RELEASE_BUFFERS);
}

}  // namespace bench
