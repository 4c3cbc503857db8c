#include "socket_watcher.h"

#include <errno.h>
#include <stddef.h>
#include <stdlib.h>

// libuv's own names, https://docs.libuv.org/en/v1.x/poll.html and handle.html; all of version 1.19 at the latest.
extern "C" {
struct uv_handle_s;
typedef void (*uv_poll_cb)(uv_poll_s* handle, int status, int events);
typedef void (*uv_close_cb)(uv_handle_s* handle);

#define WEAK __attribute__((weak))
WEAK size_t uv_handle_size(int type);
WEAK int uv_poll_init(uv_loop_s* loop, uv_poll_s* handle, int descriptor);
WEAK int uv_poll_start(uv_poll_s* handle, int events, uv_poll_cb callback);
WEAK int uv_poll_stop(uv_poll_s* handle);
WEAK void uv_close(uv_handle_s* handle, uv_close_cb callback);
WEAK void uv_ref(uv_handle_s* handle);
WEAK void uv_unref(uv_handle_s* handle);
WEAK void* uv_handle_get_data(const uv_handle_s* handle);
WEAK void uv_handle_set_data(uv_handle_s* handle, void* data);
#undef WEAK
}

namespace upstreamproxy {
namespace {

constexpr int kUvPoll = 8;  // UV_POLL of uv_handle_type

}  // namespace

// What libuv has: it outlives the watcher until the loop has let it go.
struct SocketWatcher::Handle {
  uv_poll_s* poll;
  OnEvents on_events;
  OnClosed on_closed;
  void* context;

  uv_handle_s* base() { return reinterpret_cast<uv_handle_s*>(poll); }

  static Handle* Of(const uv_handle_s* handle) { return static_cast<Handle*>(uv_handle_get_data(handle)); }

  static void Events(uv_poll_s* poll, int status, int events) {
    Handle* handle = Of(reinterpret_cast<uv_handle_s*>(poll));
    handle->on_events(handle->context, status < 0 ? 0 : events);
  }

  static void Closed(uv_handle_s* base) {
    Handle* handle = Of(base);
    const OnClosed on_closed = handle->on_closed;
    void* context = handle->context;
    free(handle->poll);
    free(handle);
    if (on_closed != nullptr) on_closed(context);
  }
};

bool SocketWatcher::available() {
  return uv_handle_size != nullptr && uv_poll_init != nullptr && uv_poll_start != nullptr && uv_poll_stop != nullptr &&
         uv_close != nullptr && uv_ref != nullptr && uv_unref != nullptr && uv_handle_get_data != nullptr &&
         uv_handle_set_data != nullptr;
}

int SocketWatcher::Start(uv_loop_s* loop, int descriptor, int events, OnEvents on_events, void* context) {
  if (handle_ == nullptr) {
    auto* handle = static_cast<Handle*>(malloc(sizeof(Handle)));
    auto* poll = static_cast<uv_poll_s*>(malloc(uv_handle_size(kUvPoll)));
    const int error = handle == nullptr || poll == nullptr ? ENOMEM : -uv_poll_init(loop, poll, descriptor);
    if (error != 0) {
      free(handle);
      free(poll);
      return error;
    }
    *handle = {poll, on_events, nullptr, context};
    uv_handle_set_data(handle->base(), handle);
    handle_ = handle;
    KeepAlive(keeps_alive_);
  }
  return -uv_poll_start(handle_->poll, events, Handle::Events);
}

void SocketWatcher::Stop() {
  if (handle_ != nullptr) uv_poll_stop(handle_->poll);
}

void SocketWatcher::KeepAlive(bool keeps_alive) {
  keeps_alive_ = keeps_alive;
  if (handle_ == nullptr) return;
  if (keeps_alive) {
    uv_ref(handle_->base());
  } else {
    uv_unref(handle_->base());
  }
}

bool SocketWatcher::Close(OnClosed on_closed, void* context) {
  if (handle_ == nullptr) return false;
  Handle* handle = handle_;
  handle_ = nullptr;
  handle->on_closed = on_closed;
  handle->context = context;
  uv_close(handle->base(), Handle::Closed);
  return true;
}

}  // namespace upstreamproxy
