// Reading from a stream socket, and the listener, on real sockets over TCP: built with AddressSanitizer and
// UndefinedBehaviorSanitizer (scripts/native-checks.mjs).
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include <random>
#include <string>
#include <vector>

#include "../loopback_listener.h"
#include "../stream_socket.h"
#include "check.h"

using upstreamproxy::LoopbackListener;
using upstreamproxy::StreamSocket;
using upstreamproxy::SystemResult;

namespace {

constexpr size_t kCap = 64 * 1024 * 1024;
constexpr int kDeadlineMs = 5000;

void Await(int descriptor, short events) {
  struct pollfd watched = {descriptor, events, 0};
  CHECK(poll(&watched, 1, kDeadlineMs) == 1);
}

sockaddr_in Loopback(uint16_t port) {
  sockaddr_in address;
  memset(&address, 0, sizeof(address));
  address.sin_family = AF_INET;
  address.sin_port = htons(port);
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  return address;
}

int Dial(uint16_t port) {
  const int descriptor = socket(AF_INET, SOCK_STREAM, 0);
  const sockaddr_in address = Loopback(port);
  CHECK(descriptor >= 0 && connect(descriptor, reinterpret_cast<const sockaddr*>(&address), sizeof(address)) == 0);
  return descriptor;
}

int AcceptOne(LoopbackListener* listener) {
  Await(listener->descriptor(), POLLIN);
  int descriptor = -1;
  CHECK(listener->Accept(&descriptor).ok() && descriptor >= 0);
  return descriptor;
}

int Option(int descriptor, int level, int name) {
  int value = -1;
  socklen_t length = sizeof(value);
  CHECK(getsockopt(descriptor, level, name, &value, &length) == 0);
  return value;
}

void ResetAndClose(int descriptor) {
  const struct linger at_once = {1, 0};
  CHECK(setsockopt(descriptor, SOL_SOCKET, SO_LINGER, &at_once, sizeof(at_once)) == 0);
  close(descriptor);
}

struct Connection {
  LoopbackListener listener;
  StreamSocket near{kCap};
  int far = -1;

  Connection() {
    CHECK(listener.Listen(0, 8).ok());
    far = Dial(listener.port());
    near.Adopt(AcceptOne(&listener));
  }
  ~Connection() {
    if (far >= 0) close(far);
  }
  void Write(const std::string& text) {
    CHECK(write(far, text.data(), text.size()) == static_cast<ssize_t>(text.size()));
  }
  void Finish() {
    close(far);
    far = -1;
  }
  void Reset() {
    ResetAndClose(far);
    far = -1;
  }
  SystemResult Read(std::string* text, size_t most) {
    std::string room(most, '\0');
    size_t size = 0;
    const SystemResult result = near.Read(reinterpret_cast<uint8_t*>(&room[0]), most, &size);
    CHECK(size <= most && (result.ok() || size == 0));
    *text = room.substr(0, size);
    return result;
  }
};

void EveryByteIsReadOnceInOrder(unsigned seed) {
  std::mt19937 random(seed);
  Connection connection;
  CHECK(fcntl(connection.far, F_SETFL, O_NONBLOCK) == 0);
  std::string sent, received, text;
  while (sent.size() < 4 * 1024 * 1024) {
    std::string more(random() % 100000, '\0');
    for (char& byte : more) byte = static_cast<char>(random());
    const ssize_t taken = write(connection.far, more.data(), more.size());
    CHECK(taken >= 0 || errno == EAGAIN);
    if (taken > 0) sent += more.substr(0, static_cast<size_t>(taken));
    const SystemResult result = connection.Read(&text, 1 + random() % 70000);
    CHECK(result.ok() || result.error == EAGAIN);
    received += text;
  }
  connection.Finish();
  for (;;) {
    Await(connection.near.descriptor(), POLLIN);
    const SystemResult result = connection.Read(&text, 50000);
    if (!result.ok()) {
      CHECK(result.error == EAGAIN);
      continue;
    }
    if (text.empty()) break;
    received += text;
  }
  CHECK(received == sent);
  CHECK(connection.Read(&text, 10).ok() && text.empty());
}

void NothingThereIsNoEnd() {
  Connection connection;
  std::string text;
  const SystemResult result = connection.Read(&text, 10);
  CHECK(result.error == EAGAIN && strcmp(result.call, "recv") == 0);
  CHECK(!connection.near.broken());
}

void AResetIsNoEnd() {
  Connection connection;
  std::string text;
  connection.Write("last words");
  connection.Reset();
  Await(connection.near.descriptor(), POLLIN);
  CHECK(connection.Read(&text, 4).ok() && text == "last");
  CHECK(connection.Read(&text, 100).ok() && text == " words");
  CHECK(connection.Read(&text, 100).error == ECONNRESET);
}

void AWriteThatHasMetTheResetLeavesWhatIsUnread() {
  Connection connection;
  std::string text = "x";
  connection.Write("last words");
  connection.Reset();
  Await(connection.near.descriptor(), POLLIN);
  const struct iovec piece = {&text[0], 1};
  const int error = connection.near.Write(&piece, 1).error;
  CHECK((error == ECONNRESET || error == EPIPE) && connection.near.broken());
  CHECK(connection.Read(&text, 100).ok() && text == "last words");
  // The kernel has told the error once: whoever reads on must ask the socket.
  CHECK(connection.Read(&text, 100).ok() && text.empty() && connection.near.broken());
  CHECK(connection.near.Drain().error == error);
}

void WhatIsDestroyedReadsNothing() {
  Connection connection;
  std::string text;
  connection.Write("x");
  connection.near.Destroy();
  connection.near.Destroy();
  CHECK(connection.near.descriptor() == -1);
  CHECK(connection.Read(&text, 10).error == EBADF);
}

void AnAdoptedDescriptorIsClosedWithItsSocket() {
  LoopbackListener listener;
  CHECK(listener.Listen(0, 8).ok());
  const int far = Dial(listener.port());
  const int descriptor = AcceptOne(&listener);
  {
    StreamSocket near(kCap);
    near.Adopt(descriptor);
    CHECK(near.descriptor() == descriptor);
  }
  CHECK(fcntl(descriptor, F_GETFD) == -1 && errno == EBADF);
  char byte;
  CHECK(read(far, &byte, 1) == 0);
  close(far);
}

void ResetSendsAReset() {
  Connection connection;
  connection.near.Reset();
  char byte;
  CHECK(read(connection.far, &byte, 1) == -1 && errno == ECONNRESET);
}

void ItListensOnLoopbackAlone() {
  LoopbackListener listener;
  CHECK(listener.port() == 0 && listener.descriptor() == -1);
  CHECK(listener.Listen(0, 8).ok());
  sockaddr_in address;
  socklen_t length = sizeof(address);
  CHECK(getsockname(listener.descriptor(), reinterpret_cast<sockaddr*>(&address), &length) == 0);
  CHECK(address.sin_family == AF_INET && address.sin_addr.s_addr == htonl(INADDR_LOOPBACK));
  CHECK(ntohs(address.sin_port) == listener.port() && listener.port() != 0);
  LoopbackListener other;
  CHECK(other.Listen(listener.port(), 8).error == EADDRINUSE);
  CHECK(other.descriptor() == -1);
  listener.Close();
  listener.Close();
  CHECK(other.Listen(listener.port(), 8).ok());
}

void WhatIsAcceptedNeverBlocksAndIsNotInherited() {
  LoopbackListener listener;
  CHECK(listener.Listen(0, 8).ok());
  int descriptor = 0;
  CHECK(listener.Accept(&descriptor).ok() && descriptor == -1);
  const int far = Dial(listener.port());
  descriptor = AcceptOne(&listener);
  CHECK((fcntl(descriptor, F_GETFL) & O_NONBLOCK) != 0 && (fcntl(descriptor, F_GETFD) & FD_CLOEXEC) != 0);
  CHECK((fcntl(listener.descriptor(), F_GETFL) & O_NONBLOCK) != 0 && (fcntl(listener.descriptor(), F_GETFD) & FD_CLOEXEC) != 0);
  CHECK(Option(descriptor, IPPROTO_TCP, TCP_NODELAY) == 1 && Option(listener.descriptor(), SOL_SOCKET, SO_REUSEADDR) == 1);
  close(descriptor);
  close(far);
}

void OutOfDescriptorsItSaysSoAndGoesOn() {
  LoopbackListener listener;
  CHECK(listener.Listen(0, 8).ok());
  const int far = Dial(listener.port());
  Await(listener.descriptor(), POLLIN);
  struct rlimit limit;
  CHECK(getrlimit(RLIMIT_NOFILE, &limit) == 0);
  const struct rlimit none = {static_cast<rlim_t>(far) + 1, limit.rlim_max};
  CHECK(setrlimit(RLIMIT_NOFILE, &none) == 0);
  std::vector<int> taken;
  for (int descriptor; (descriptor = dup(far)) >= 0;) taken.push_back(descriptor);
  int descriptor = 0;
  const SystemResult result = listener.Accept(&descriptor);
  CHECK(result.error == EMFILE && strcmp(result.call, "accept4") == 0 && descriptor == -1);
  CHECK(setrlimit(RLIMIT_NOFILE, &limit) == 0);
  close(AcceptOne(&listener));
  for (const int other : taken) close(other);
  close(far);
}

}  // namespace

int main() {
  for (unsigned seed = 0; seed < 3; seed++) EveryByteIsReadOnceInOrder(seed);
  NothingThereIsNoEnd();
  AResetIsNoEnd();
  AWriteThatHasMetTheResetLeavesWhatIsUnread();
  WhatIsDestroyedReadsNothing();
  AnAdoptedDescriptorIsClosedWithItsSocket();
  ResetSendsAReset();
  ItListensOnLoopbackAlone();
  WhatIsAcceptedNeverBlocksAndIsNotInherited();
  OutOfDescriptorsItSaysSoAndGoesOn();
  puts("all hold");
}
