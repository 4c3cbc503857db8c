// The socket writer on real sockets, its queue against a model, and process control from many threads: built with
// AddressSanitizer and UndefinedBehaviorSanitizer, and once more with ThreadSanitizer (scripts/native-checks.mjs).
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <random>
#include <string>
#include <thread>
#include <vector>

#include "../process_control.h"
#include "../stream_socket.h"
#include "check.h"

using upstreamproxy::Bytes;
using upstreamproxy::StreamSocket;
using upstreamproxy::WriteQueue;

namespace {

constexpr size_t kCap = 64 * 1024 * 1024;

struct Pair {
  int ours;
  int theirs;

  Pair() {
    int ends[2];
    CHECK(socketpair(AF_UNIX, SOCK_STREAM, 0, ends) == 0);
    ours = ends[0];
    theirs = ends[1];
    CHECK(fcntl(theirs, F_SETFL, O_NONBLOCK) == 0);
  }
  ~Pair() {
    close(ours);
    if (theirs >= 0) close(theirs);
  }
  void Hang() {
    close(theirs);
    theirs = -1;
  }
  // What has come, at most `max`; sets `end` at the end of the stream.
  std::string Read(size_t max, bool* end) {
    std::string bytes(max, '\0');
    const ssize_t count = read(theirs, &bytes[0], max);
    *end = count == 0;
    CHECK(count >= 0 || errno == EAGAIN);
    bytes.resize(count < 0 ? 0 : static_cast<size_t>(count));
    return bytes;
  }
};

std::string Text(std::mt19937* random, size_t size) {
  std::string text(size, '\0');
  for (char& byte : text) byte = static_cast<char>((*random)());
  return text;
}

upstreamproxy::SystemResult WriteText(StreamSocket* writer, const std::string& text) {
  const struct iovec piece = {const_cast<char*>(text.data()), text.size()};
  return writer->Write(&piece, 1);
}

void EveryByteArrivesInOrder(unsigned seed) {
  std::mt19937 random(seed);
  Pair pair;
  StreamSocket writer(kCap);
  CHECK(writer.Open(pair.ours).ok());
  std::string sent, received;
  bool end = false;
  for (int turn = 0; turn < 300; turn++) {
    std::vector<std::string> texts;
    std::vector<struct iovec> pieces;
    for (unsigned i = random() % 100; i > 0; i--) texts.push_back(Text(&random, random() % (i == 1 ? 90000 : 300)));
    for (std::string& text : texts) {
      pieces.push_back({&text[0], text.size()});
      sent += text;
    }
    CHECK(writer.Write(pieces.data(), pieces.size()).ok());
    for (unsigned i = random() % 3; i > 0; i--) received += pair.Read(random() % 60000, &end);
    if (random() % 2 == 0) CHECK(writer.Drain().ok());
    CHECK(writer.queued_bytes() <= sent.size() - received.size());
  }
  CHECK(writer.End().ok() && writer.End().ok());
  CHECK(WriteText(&writer, "late").error == EPIPE);
  while (!end) {
    received += pair.Read(100000, &end);
    CHECK(writer.Drain().ok());
  }
  CHECK(writer.ended() && writer.queued_bytes() == 0);
  CHECK(received == sent);
}

void OverTheCapNothingIsSent() {
  Pair pair;
  StreamSocket writer(1000);
  CHECK(writer.Open(pair.ours).ok());
  CHECK(WriteText(&writer, std::string(1001, 'a')).error == ENOBUFS);
  bool end;
  CHECK(pair.Read(10, &end).empty() && !end);
  CHECK(WriteText(&writer, std::string(1000, 'b')).ok());
  CHECK(pair.Read(2000, &end) == std::string(1000, 'b'));
}

void ABrokenSocketIsSaidOnceAndForAll() {
  Pair pair;
  StreamSocket writer(kCap);
  CHECK(writer.Open(pair.ours).ok());
  CHECK(WriteText(&writer, std::string(10 * 1024 * 1024, 'a')).ok());
  CHECK(writer.wants_writable());
  pair.Hang();
  const int error = writer.Drain().error;
  CHECK(error == EPIPE || error == ECONNRESET);
  CHECK(!writer.wants_writable() && writer.queued_bytes() == 0);
  CHECK(WriteText(&writer, "more").error == error && writer.End().error == error);
}

void ATurnIsBounded() {
  Pair pair;
  const int large = 8 * 1024 * 1024;
  setsockopt(pair.ours, SOL_SOCKET, SO_SNDBUFFORCE, &large, sizeof(large));
  StreamSocket writer(kCap);
  CHECK(writer.Open(pair.ours).ok());
  CHECK(WriteText(&writer, std::string(40 * 1024 * 1024, 'a')).ok());
  bool end;
  for (size_t before = writer.queued_bytes(); before > 0; before = writer.queued_bytes()) {
    for (std::string bytes = "x"; !bytes.empty();) bytes = pair.Read(1 << 20, &end);
    CHECK(writer.Drain().ok());
    CHECK(before - writer.queued_bytes() <= StreamSocket::kDrainBytes);
  }
}

void WhatIsNoStreamSocketIsRefused() {
  StreamSocket writer(kCap);
  CHECK(writer.Open(-1).error == EBADF);
  int ends[2];
  CHECK(pipe(ends) == 0);
  CHECK(writer.Open(ends[1]).error == ENOTSOCK);
  close(ends[0]);
  close(ends[1]);
  const int datagrams = socket(AF_INET, SOCK_DGRAM, 0);
  CHECK(writer.Open(datagrams).error == EPROTOTYPE);
  close(datagrams);
  CHECK(WriteText(&writer, "x").error != 0);
}

void TheQueueIsAString(unsigned seed) {
  std::mt19937 random(seed);
  WriteQueue queue;
  std::string model;
  for (int turn = 0; turn < 2000; turn++) {
    const std::string text = Text(&random, random() % (random() % 10 == 0 ? 200000 : 2000));
    CHECK(queue.Append({reinterpret_cast<const uint8_t*>(text.data()), text.size()}));
    model += text;
    CHECK(queue.size() == model.size());
    struct iovec pieces[8];
    const int count = queue.Front(pieces, 8);
    std::string front;
    for (int i = 0; i < count; i++) front.append(static_cast<char*>(pieces[i].iov_base), pieces[i].iov_len);
    CHECK(model.compare(0, front.size(), front) == 0 && front.empty() == model.empty());
    const size_t step = front.empty() ? 0 : random() % (front.size() + 1);
    queue.Consume(step);
    model.erase(0, step);
  }
  queue.Clear();
  CHECK(queue.size() == 0);
}

void OnSignal(int) {}

void TheDispositionIsKeptWhoeverAsks() {
  signal(SIGUSR1, OnSignal);
  std::vector<std::thread> threads;
  for (int i = 0; i < 8; i++) {
    threads.emplace_back([] {
      for (int turn = 0; turn < 500; turn++) {
        CHECK(upstreamproxy::IgnoreSigusr1().ok());
        int pid = -1;
        CHECK(turn % 50 != 0 || (upstreamproxy::TracerPid(&pid).ok() && pid == 0));
        CHECK(upstreamproxy::RestoreSigusr1().ok());
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  CHECK(upstreamproxy::RestoreSigusr1().ok());
  struct sigaction action;
  CHECK(sigaction(SIGUSR1, nullptr, &action) == 0 && action.sa_handler == OnSignal);
}

void ManyThreadsEachWithItsOwn() {
  std::vector<std::thread> threads;
  for (unsigned i = 0; i < 4; i++) threads.emplace_back([i] { EveryByteArrivesInOrder(100 + i); });
  for (std::thread& thread : threads) thread.join();
}

}  // namespace

int main() {
  for (unsigned seed = 0; seed < 5; seed++) EveryByteArrivesInOrder(seed);
  OverTheCapNothingIsSent();
  ABrokenSocketIsSaidOnceAndForAll();
  ATurnIsBounded();
  WhatIsNoStreamSocketIsRefused();
  for (unsigned seed = 0; seed < 5; seed++) TheQueueIsAString(seed);
  TheDispositionIsKeptWhoeverAsks();
  ManyThreadsEachWithItsOwn();
  puts("all hold");
}
