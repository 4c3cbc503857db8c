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
#include <memory>
#include "client_tunnel.h"

using namespace bench;

namespace {

std::string latencies(std::vector<double> seconds) {
  std::sort(seconds.begin(), seconds.end());
  const auto at = [&](double part) {
    return seconds.empty() ? 0 : 1e6 * seconds[std::min(seconds.size() - 1, static_cast<size_t>(part * static_cast<double>(seconds.size())))];
  };
  char text[200];
  snprintf(text, sizeof text, "{\"count\":%zu,\"p50\":%.0f,\"p90\":%.0f,\"p99\":%.0f,\"max\":%.0f}", seconds.size(), at(.5), at(.9), at(.99), at(1));
  return text;
}

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
        else step(static_cast<ClientTunnel*>(what), events_[i].events);
      }
    }
  }

 private:
  void step(ClientTunnel* tunnel, uint32_t events) {
    const bool wasOpen = tunnel->open(), wasDone = tunnel->done();
    tunnel->onEvent(events, arena_.data());
    if (!wasOpen && tunnel->open()) return opened(tunnel);
    rewatch(tunnel);
    if (!wasDone && tunnel->done() && ++done_ == settings_.tunnels) finish();
  }

  void opened(ClientTunnel* tunnel) {
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
      tunnels_.push_back(std::make_unique<ClientTunnel>(settings_, made_++));
      opening_++;
      watch(epoll_, EPOLL_CTL_ADD, tunnels_.back()->fd(), EPOLLIN | EPOLLOUT, tunnels_.back().get());
    }
  }

  void rewatch(ClientTunnel* tunnel) {
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
  std::vector<std::unique_ptr<ClientTunnel>> tunnels_;
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
