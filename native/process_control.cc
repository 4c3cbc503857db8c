#include "process_control.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdint.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <atomic>

namespace upstreamproxy {
namespace {

SystemResult Failed(const char* call) { return {errno, call}; }

// What IgnoreSigusr1 replaced, for the whole process, and the lock that guards it.
struct sigaction replaced_action;
bool has_replaced_action = false;
std::atomic_flag lock = ATOMIC_FLAG_INIT;

class Locked {
 public:
  Locked() {
    while (lock.test_and_set(std::memory_order_acquire)) {
    }
  }
  ~Locked() { lock.clear(std::memory_order_release); }
  Locked(const Locked&) = delete;
  Locked& operator=(const Locked&) = delete;
};

bool IsIgnored(const struct sigaction& action) {
  return (action.sa_flags & SA_SIGINFO) == 0 && action.sa_handler == SIG_IGN;
}

// The number behind "TracerPid:" in a status file. The first line's Name cannot forge it: the kernel escapes newlines.
int TracerIn(const char* status) {
  const char* line = strstr(status, "\nTracerPid:");
  if (line == nullptr) return -1;
  const char* digit = line + sizeof("\nTracerPid:") - 1;
  while (*digit == ' ' || *digit == '\t') digit++;
  int pid = 0;
  for (; *digit >= '0' && *digit <= '9'; digit++) pid = pid * 10 + (*digit - '0');
  return pid;
}

// Of one thread, whose folder's name is `thread`, below the open folder `tasks`.
SystemResult TracerOfThread(int tasks, const char* thread, int* pid) {
  char path[64];
  const size_t length = strlen(thread);
  if (length + sizeof("/status") > sizeof(path)) return {ENAMETOOLONG, "openat"};
  memcpy(path, thread, length);
  memcpy(path + length, "/status", sizeof("/status"));
  const int file = openat(tasks, path, O_RDONLY | O_CLOEXEC);
  // The thread has ended since.
  if (file < 0 && errno == ENOENT) return {};
  if (file < 0) return Failed("openat");
  // TracerPid is the eighth line: far within the first page.
  char status[4096];
  const ssize_t bytes = read(file, status, sizeof(status) - 1);
  const int error = errno;
  close(file);
  if (bytes < 0 && error == ESRCH) return {};
  if (bytes < 0) return {error, "read"};
  status[bytes] = '\0';
  const int tracer = TracerIn(status);
  if (tracer < 0) return {ENODATA, "read"};
  if (tracer > 0) *pid = tracer;
  return {};
}

// Of the kernel's ABI (getdents64(2)), which no header of both C libraries has.
struct DirectoryEntry {
  uint64_t inode;
  int64_t offset;
  uint16_t size;
  uint8_t type;
  char name[1];
};

}  // namespace

SystemResult SetDumpable(bool dumpable) {
  if (prctl(PR_SET_DUMPABLE, dumpable ? 1UL : 0UL, 0UL, 0UL, 0UL) != 0) return Failed("prctl");
  return {};
}

SystemResult Dumpable(int* value) {
  const int dumpable = prctl(PR_GET_DUMPABLE, 0UL, 0UL, 0UL, 0UL);
  if (dumpable < 0) return Failed("prctl");
  *value = dumpable;
  return {};
}

SystemResult Sigusr1Disposition(Disposition* disposition) {
  struct sigaction action;
  if (sigaction(SIGUSR1, nullptr, &action) != 0) return Failed("sigaction");
  const bool simple = (action.sa_flags & SA_SIGINFO) == 0;
  if (IsIgnored(action)) {
    *disposition = Disposition::kIgnored;
  } else if (simple && action.sa_handler == SIG_DFL) {
    *disposition = Disposition::kDefault;
  } else {
    *disposition = Disposition::kCaught;
  }
  return {};
}

SystemResult IgnoreSigusr1() {
  Locked locked;
  struct sigaction ignore;
  memset(&ignore, 0, sizeof(ignore));
  ignore.sa_handler = SIG_IGN;
  struct sigaction before;
  if (sigaction(SIGUSR1, &ignore, &before) != 0) return Failed("sigaction");
  if (IsIgnored(before)) return {};
  replaced_action = before;
  has_replaced_action = true;
  return {};
}

SystemResult RestoreSigusr1() {
  Locked locked;
  if (!has_replaced_action) return {};
  struct sigaction now;
  if (sigaction(SIGUSR1, nullptr, &now) != 0) return Failed("sigaction");
  // Somebody has set another action since: it is theirs.
  if (IsIgnored(now) && sigaction(SIGUSR1, &replaced_action, nullptr) != 0) return Failed("sigaction");
  has_replaced_action = false;
  return {};
}

SystemResult TracerPid(int* pid) {
  *pid = 0;
  const int tasks = open("/proc/self/task", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (tasks < 0) return Failed("open");
  SystemResult result;
  alignas(DirectoryEntry) char entries[4096];
  while (result.ok() && *pid == 0) {
    const long bytes = syscall(SYS_getdents64, tasks, entries, sizeof(entries));
    if (bytes < 0) result = Failed("getdents64");
    if (bytes <= 0) break;
    for (long at = 0; at < bytes && result.ok() && *pid == 0;) {
      const auto* entry = reinterpret_cast<const DirectoryEntry*>(entries + at);
      if (entry->name[0] != '.') result = TracerOfThread(tasks, entry->name, pid);
      at += entry->size;
    }
  }
  close(tasks);
  return result;
}

}  // namespace upstreamproxy
