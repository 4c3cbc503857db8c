// The client's side of every measurement: opens tunnels through whatever listens on a port and moves bytes that it checks.
//
//   load --port P --kind up|down|both|echo [--tunnels N] [--bytes N] [--chunk N] [--endless 1]
//   load --port P --kind echo --message N --pause-us N --seconds N [--on-schedule 1]   ping-pong; latencies. On schedule:
//        a message that is due while the one before is still out counts from when it was due, so that a standstill weighs
//        as much as it lasts
//   load --port P --kind connect --connects K --concurrency C [--gap-us N]   CONNECT to the answer's first byte; latencies
//
// Prints {"event":"ready"} once all tunnels are open, waits for the line `go`, and closes with {"event":"done", …}. The
// line `stop`, or the end of stdin, ends it early. Bytes that are wrong end it with {"event":"failed"} and status 1.
#include <signal.h>
#include <sys/timerfd.h>
#include <time.h>
#include <algorithm>
#include <memory>
#include <string>
#include <vector>
#include "channel.h"
#include "job.h"
#include "pattern.h"
#include "sockets.h"

using namespace bench;

namespace {

const Pattern pattern;

struct Settings {
  uint16_t port = 0;
  std::string kind;
  uint64_t tunnels = 1, bytes = 0, chunk = 64 * 1024, message = 64, pauseUs = 2000, seconds = 5;
  uint64_t connects = 100, concurrency = 1, gapUs = 0, endless = 0, onSchedule = 0;
};

double now() {
  timespec time;
  clock_gettime(CLOCK_MONOTONIC, &time);
  return static_cast<double>(time.tv_sec) + static_cast<double>(time.tv_nsec) / 1e9;
}

// What a relay answered may be in it: only what JSON takes as it is stays.
[[noreturn]] void fail(std::string why) {
  for (char& each : why)
    if (each < ' ' || each == '"' || each == '\\' || each > '~') each = '.';
  printf("{\"event\":\"failed\",\"why\":\"%s\"}\n", why.c_str());
  fflush(stdout);
  _exit(1);
}

std::string latencies(std::vector<double> seconds) {
  std::sort(seconds.begin(), seconds.end());
  const auto at = [&](double part) {
    return seconds.empty() ? 0 : 1e6 * seconds[std::min(seconds.size() - 1, static_cast<size_t>(part * static_cast<double>(seconds.size())))];
  };
  char text[200];
  snprintf(text, sizeof text, "{\"count\":%zu,\"p50\":%.0f,\"p90\":%.0f,\"p99\":%.0f,\"max\":%.0f}", seconds.size(), at(.5), at(.9), at(.99), at(1));
  return text;
}

class Tunnel {
 public:
  Tunnel(const Settings& settings, uint64_t seed)
      : settings_(settings), seed_(seed), since_(now()), channel_(connectTo(settings.port), nullptr, false) {}

  int fd() const { return channel_.fd(); }
  bool open() const { return open_; }
  bool done() const { return done_; }
  double since() const { return since_; }
  double firstByteAt() const { return firstByteAt_; }
  uint64_t moved() const { return sent_ + got_; }
  bool wantsToWrite() const { return !said_ || channel_.queued() > 0 || (going_ && sendsBulk() && sent_ < settings_.bytes); }
  std::vector<double> rounds;

  void go() {
    going_ = true;
    if (settings_.kind == "down" && !channel_.write(reinterpret_cast<const uint8_t*>("g"), 1)) fail("broken at the start");
  }

  void ping() {
    if (waiting_ && settings_.onSchedule != 0) overdue_.push_back(now());
    if (waiting_ || done_) return;
    waiting_ = true;
    got_ = 0;
    pingedAt_ = now();
    if (!channel_.write(pattern.at(seed_, 0), settings_.message)) fail("broken at a ping");
  }

  void onEvent(uint32_t events, uint8_t* arena) {
    if ((events & EPOLLOUT) != 0) write();
    if ((events & (EPOLLIN | EPOLLHUP | EPOLLERR)) != 0) read(arena);
  }

 private:
  bool sendsBulk() const { return settings_.kind == "up" || settings_.kind == "both"; }

  void write() {
    if (!said_) {
      said_ = true;
      const std::string kind = settings_.kind == "connect" ? "echo" : settings_.kind;
      const std::string host = hostOf(kind.c_str(), settings_.bytes, seed_, settings_.chunk);
      const std::string head = "CONNECT " + host + ":443 HTTP/1.1\r\nHost: " + host + ":443\r\n\r\n";
      if (!channel_.write(reinterpret_cast<const uint8_t*>(head.data()), head.size())) fail("the relay broke at the CONNECT");
      return;
    }
    if (!channel_.flush()) fail("the relay broke while it was written to");
    // A bounded turn: other tunnels have theirs.
    for (size_t turn = 0; turn < 512 * 1024 && going_ && sendsBulk() && sent_ < settings_.bytes && channel_.queued() == 0;) {
      const size_t size = static_cast<size_t>(std::min(settings_.bytes - sent_, settings_.chunk));
      if (!channel_.write(pattern.at(seed_, sent_), size)) fail("the relay broke while it was written to");
      sent_ += size;
      turn += size;
    }
  }

  void read(uint8_t* arena) {
    size_t length = 0;
    const Channel::Read result = channel_.read(arena, READ_BYTES, &length);
    if (result == Channel::Read::nothing) return;
    if (result != Channel::Read::bytes) fail("a tunnel ended after " + std::to_string(got_) + " bytes" + (open_ ? "" : ", before its answer: " + head_.substr(0, 60)));
    if (!open_) return takeAnswer(arena, length);
    take(arena, length);
  }

  void takeAnswer(const uint8_t* bytes, size_t length) {
    if (head_.empty()) firstByteAt_ = now();
    head_.append(reinterpret_cast<const char*>(bytes), length);
    const size_t end = head_.find("\r\n\r\n");
    if (end == std::string::npos) return;
    if (head_.compare(9, 3, "200") != 0) fail("refused: " + head_.substr(0, head_.find("\r\n")));
    open_ = true;
    const std::string rest = head_.substr(end + 4);
    if (!rest.empty()) take(reinterpret_cast<const uint8_t*>(rest.data()), rest.size());
  }

  void take(const uint8_t* bytes, size_t length) {
    if (settings_.kind == "echo") return takeEcho(bytes, length);
    const uint64_t expected = settings_.kind == "up" ? 0 : settings_.bytes;
    const size_t data = static_cast<size_t>(std::min<uint64_t>(length, expected - got_));
    if (data > 0 && !pattern.matches(downSeed(seed_), got_, bytes, data)) fail("bytes that came down are not those that were sent");
    got_ += data;
    if (length > data) takeVerdict(bytes[data], length - data);
    if (settings_.kind == "down" && got_ == expected) done_ = true;
  }

  void takeVerdict(uint8_t verdict, size_t length) {
    if (verdict != 'K' || length != 1) fail("bytes that went up are not those that were sent");
    if (sent_ < settings_.bytes) fail("the gateway had enough too early");
    done_ = true;
  }

  void takeEcho(const uint8_t* bytes, size_t length) {
    if (got_ + length > settings_.message || !pattern.matches(seed_, got_, bytes, length)) fail("the echo is not what was sent");
    got_ += length;
    if (got_ < settings_.message) return;
    waiting_ = false;
    const double at = now();
    rounds.push_back(at - pingedAt_);
    for (const double due : overdue_) rounds.push_back(at - due);
    overdue_.clear();
  }

  const Settings& settings_;
  const uint64_t seed_;
  const double since_;
  Channel channel_;
  bool said_ = false, open_ = false, going_ = false, done_ = false, waiting_ = false;
  std::string head_;
  std::vector<double> overdue_;
  double firstByteAt_ = 0, pingedAt_ = 0;
  uint64_t sent_ = 0, got_ = 0;
};

class Load {
 public:
  explicit Load(const Settings& settings) : settings_(settings) {
    watch(epoll_, EPOLL_CTL_ADD, 0, EPOLLIN, &stdin_);
    if (settings.kind == "connect") say("ready");
  }

  void run() {
    fill();
    for (;;) {
      const int count = epoll_wait(epoll_, events_.data(), static_cast<int>(events_.size()), -1);
      for (int i = 0; i < count; i++) {
        void* const what = events_[i].data.ptr;
        if (what == &stdin_) command();
        else if (what == &timer_) tick();
        else step(static_cast<Tunnel*>(what), events_[i].events);
      }
    }
  }

 private:
  void step(Tunnel* tunnel, uint32_t events) {
    const bool wasOpen = tunnel->open(), wasDone = tunnel->done();
    tunnel->onEvent(events, arena_.data());
    if (!wasOpen && tunnel->open()) return opened(tunnel);
    rewatch(tunnel);
    if (!wasDone && tunnel->done() && ++done_ == settings_.tunnels) finish();
  }

  void opened(Tunnel* tunnel) {
    opening_--;
    open_++;
    first_.push_back(tunnel->firstByteAt() - tunnel->since());
    if (settings_.kind == "connect") {
      const auto at = std::find_if(tunnels_.begin(), tunnels_.end(), [&](const auto& each) { return each.get() == tunnel; });
      std::swap(*at, tunnels_.back());
      tunnels_.pop_back();
      if (open_ == settings_.connects) finish();
    } else {
      rewatch(tunnel);
      if (open_ == settings_.tunnels) say("ready");
    }
    if (settings_.gapUs == 0) fill();
  }

  // Opens more, as long as there are to be more and not too many are on their way.
  void fill() {
    const bool connects = settings_.kind == "connect";
    if (connects && !going_) return;
    const uint64_t wanted = connects ? settings_.connects : settings_.tunnels;
    const uint64_t atOnce = connects ? settings_.concurrency : 64;
    while (open_ + opening_ < wanted && opening_ < atOnce) {
      tunnels_.push_back(std::make_unique<Tunnel>(settings_, made_++));
      opening_++;
      watch(epoll_, EPOLL_CTL_ADD, tunnels_.back()->fd(), EPOLLIN | EPOLLOUT, tunnels_.back().get());
    }
  }

  void rewatch(Tunnel* tunnel) {
    watch(epoll_, EPOLL_CTL_MOD, tunnel->fd(), tunnel->wantsToWrite() ? EPOLLIN | EPOLLOUT : EPOLLIN, tunnel);
  }

  void command() {
    char text[64];
    const ssize_t length = ::read(0, text, sizeof text);
    if (length <= 0 || text[0] == 's') finish();
    if (text[0] != 'g' || going_) return;
    going_ = true;
    startedAt_ = now();
    for (const auto& tunnel : tunnels_) {
      tunnel->go();
      rewatch(tunnel.get());
    }
    fill();
    const uint64_t periodUs = settings_.kind == "echo" ? settings_.pauseUs : settings_.gapUs;
    if (periodUs == 0) return;
    const int fd = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC);
    const timespec every = {static_cast<time_t>(periodUs / 1000000), static_cast<long>(periodUs % 1000000 * 1000)};
    const itimerspec spec = {every, every};
    timerfd_settime(fd, 0, &spec, nullptr);
    timerFd_ = fd;
    watch(epoll_, EPOLL_CTL_ADD, fd, EPOLLIN, &timer_);
  }

  void tick() {
    uint64_t times;
    if (::read(timerFd_, &times, sizeof times) < 0) return;
    if (settings_.kind == "connect") return fill();
    if (now() - startedAt_ > static_cast<double>(settings_.seconds)) finish();
    for (const auto& tunnel : tunnels_) {
      tunnel->ping();
      rewatch(tunnel.get());
    }
  }

  void say(const char* event) {
    printf("{\"event\":\"%s\"}\n", event);
    fflush(stdout);
  }

  [[noreturn]] void finish() {
    uint64_t moved = 0;
    std::vector<double> rounds;
    for (const auto& tunnel : tunnels_) {
      moved += tunnel->moved();
      rounds.insert(rounds.end(), tunnel->rounds.begin(), tunnel->rounds.end());
    }
    printf("{\"event\":\"done\",\"seconds\":%.6f,\"bytes\":%llu,\"opened\":%llu,\"rounds\":%s,\"firstByte\":%s}\n",
           going_ ? now() - startedAt_ : 0, static_cast<unsigned long long>(moved), static_cast<unsigned long long>(open_),
           latencies(rounds).c_str(), latencies(first_).c_str());
    fflush(stdout);
    // The tunnels stay until stdin ends: what closing them costs is not part of the measurement.
    char rest[64];
    while (::read(0, rest, sizeof rest) > 0) continue;
    _exit(0);
  }

  const Settings& settings_;
  const int epoll_ = epoll_create1(EPOLL_CLOEXEC);
  std::vector<uint8_t> arena_ = std::vector<uint8_t>(READ_BYTES);
  std::vector<epoll_event> events_ = std::vector<epoll_event>(256);
  std::vector<std::unique_ptr<Tunnel>> tunnels_;
  std::vector<double> first_;
  uint64_t made_ = 0, opening_ = 0, open_ = 0, done_ = 0;
  bool going_ = false;
  double startedAt_ = 0;
  int timerFd_ = -1;
  char stdin_ = 0, timer_ = 0;
};

}  // namespace

int main(int argc, char** argv) {
  Settings settings;
  for (int i = 1; i + 1 < argc; i += 2) {
    const std::string name = argv[i];
    const uint64_t number = strtoull(argv[i + 1], nullptr, 10);
    if (name == "--port") settings.port = static_cast<uint16_t>(number);
    else if (name == "--kind") settings.kind = argv[i + 1];
    else if (name == "--tunnels") settings.tunnels = number;
    else if (name == "--bytes") settings.bytes = number;
    else if (name == "--chunk") settings.chunk = number;
    else if (name == "--message") settings.message = number;
    else if (name == "--pause-us") settings.pauseUs = number;
    else if (name == "--seconds") settings.seconds = number;
    else if (name == "--connects") settings.connects = number;
    else if (name == "--concurrency") settings.concurrency = number;
    else if (name == "--gap-us") settings.gapUs = number;
    else if (name == "--endless") settings.endless = number;
    else if (name == "--on-schedule") settings.onSchedule = number;
    else fail("no such option: " + name);
  }
  if (settings.port == 0 || settings.kind.empty()) fail("--port and --kind are needed");
  if (settings.endless != 0) settings.bytes = uint64_t{1} << 50;
  signal(SIGPIPE, SIG_IGN);
  allowManyDescriptors();
  if (settings.kind == "echo" || settings.kind == "connect") goFirst();
  Load(settings).run();
}
