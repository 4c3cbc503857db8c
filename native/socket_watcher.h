// Tells when a descriptor is readable or writable, by libuv's loop.
//
// Rule 1: Node only. On Bun most uv_* functions abort although they resolve: nothing here is called there.
// Rule 2: the functions are declared here and looked up weakly: libuv's ABI is stable within its version 1, and where a
//         program does not export it, `available` says so in place of a failure to load.
// Rule 3: the watched descriptor is closed only after Stop or Close.
#ifndef UPSTREAMPROXY_SOCKET_WATCHER_H_
#define UPSTREAMPROXY_SOCKET_WATCHER_H_

struct uv_loop_s;
struct uv_poll_s;

namespace upstreamproxy {

class SocketWatcher {
 public:
  enum Event : int { kReadable = 1, kWritable = 2, kDisconnected = 4 };  // as uv_poll_event has them
  // `events`: what came up; 0 where the descriptor has an error to tell, and then watching has stopped.
  using OnEvents = void (*)(void* context, int events);
  using OnClosed = void (*)(void* context);

  static bool available();

  SocketWatcher() = default;
  // Closed before.
  ~SocketWatcher() = default;
  SocketWatcher(const SocketWatcher&) = delete;
  SocketWatcher& operator=(const SocketWatcher&) = delete;

  // Watches for these events from now on, and for no others. Returns an errno, 0 for none.
  int Start(uv_loop_s* loop, int descriptor, int events, OnEvents on_events, void* context);
  void Stop();

  // Whether watching keeps the loop, and with it the process, alive (default: yes).
  void KeepAlive(bool keeps_alive);

  // Lets go of the loop; `on_closed` comes from a later turn of it, or never where there was nothing to let go of (then
  // false is returned). The watcher itself may be gone by then.
  bool Close(OnClosed on_closed, void* context);

 private:
  struct Handle;

  Handle* handle_ = nullptr;
  bool keeps_alive_ = true;
};

}  // namespace upstreamproxy

#endif  // UPSTREAMPROXY_SOCKET_WATCHER_H_
