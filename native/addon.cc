// The edge between JavaScript and the parts behind it: the only file that knows Node-API. Longer than its kin for that
// reason alone. What each export does is said in src/platform/{process-control,socket-writer,framing}.ts.
//
// Rule 1: nothing that a caller can do is an assert: wrong arguments are TypeErrors and RangeErrors, what the kernel
//         refuses is an Error with code, errno and syscall.
// Rule 2: pointers into JavaScript's memory are taken after the last moment at which JavaScript can run, and are not
//         kept beyond the call.
// Rule 3: an environment (a thread) owns its writers: when it is torn down, they are let go of, and libuv's handles with
//         them, before the loop is.
//         Node runs the loop once more before that, when JavaScript cannot run any more: callbacks look first.
// Rule 4: callbacks are properties of the writer's own object, so that the garbage collector sees what they hold.
#include <errno.h>
#include <napi.h>
#include <stdlib.h>
#include <string.h>

#include <vector>

#include "frame_decoder.h"
#include "frame_encoder.h"
#include "loopback_listener.h"
#include "process_control.h"
#include "stream_socket.h"
#include "socket_watcher.h"

namespace upstreamproxy {
namespace {

constexpr char kInterfaceVersion[] = "2";
// Beside the FrameEvents.
constexpr unsigned kEventQueued = 32;

// ── errors ──

Napi::Error SystemError(Napi::Env env, SystemResult result) {
  const char* name = ErrnoName(result.error);
  Napi::Error error = Napi::Error::New(env, std::string(result.call) + ": " + name);
  error.Set("code", Napi::String::New(env, name));
  error.Set("errno", Napi::Number::New(env, result.error));
  error.Set("syscall", Napi::String::New(env, result.call));
  return error;
}

// Throws where the result says so; returns whether all is well.
bool Succeeded(Napi::Env env, SystemResult result) {
  if (!result.ok()) SystemError(env, result).ThrowAsJavaScriptException();
  return result.ok();
}

void ThrowType(Napi::Env env, const char* message) { Napi::TypeError::New(env, message).ThrowAsJavaScriptException(); }

// A property; null where it cannot be had: because a getter has thrown, or because another thread has said, a moment ago,
// that JavaScript ends here. Napi::Object::Get returns a value then that must not even be asked for its environment.
napi_value PropertyOf(napi_env env, napi_value object, const char* name) {
  napi_value value = nullptr;
  return napi_get_named_property(env, object, name, &value) == napi_ok ? value : nullptr;
}

// Whether a property holds; false too where it cannot be had.
bool IsSet(napi_env env, napi_value object, const char* name) {
  const napi_value value = PropertyOf(env, object, name);
  napi_value coerced = nullptr;
  bool is_set = false;
  return value != nullptr && napi_coerce_to_bool(env, value, &coerced) == napi_ok &&
         napi_get_value_bool(env, coerced, &is_set) == napi_ok && is_set;
}

// The bytes of a Uint8Array (a Buffer is one); false for anything else.
bool BytesOf(napi_env env, napi_value value, Bytes* bytes) {
  napi_typedarray_type type;
  size_t length;
  void* data;
  bool is_typed_array = false;
  if (napi_is_typedarray(env, value, &is_typed_array) != napi_ok || !is_typed_array) return false;
  if (napi_get_typedarray_info(env, value, &type, &length, &data, nullptr, nullptr) != napi_ok) return false;
  if (type != napi_uint8_array) return false;
  *bytes = {static_cast<const uint8_t*>(data), data == nullptr ? 0 : length};
  return true;
}

// A cap in bytes, out of any number from 0 on (Infinity is one); false for anything else.
bool CapIn(napi_env env, napi_value value, uint64_t* cap) {
  double number = 0;
  if (napi_get_value_double(env, value, &number) != napi_ok || !(number >= 0)) return false;
  constexpr uint64_t kMostBytes = (1ULL << 53) - 1;
  *cap = number < static_cast<double>(kMostBytes) ? static_cast<uint64_t>(number) : kMostBytes;
  return true;
}

// A whole number; false for anything else.
bool IntegerIn(Napi::Value value, int64_t* integer) {
  double number = 0;
  if (napi_get_value_double(value.Env(), value, &number) != napi_ok) return false;
  return napi_get_value_int64(value.Env(), value, integer) == napi_ok && static_cast<double>(*integer) == number;
}

// ── process ──

Napi::Value SetDumpable(const Napi::CallbackInfo& info) {
  if (!info[0].IsBoolean()) {
    ThrowType(info.Env(), "expected a boolean");
  } else {
    Succeeded(info.Env(), upstreamproxy::SetDumpable(info[0].As<Napi::Boolean>().Value()));
  }
  return info.Env().Undefined();
}

Napi::Value IsDumpable(const Napi::CallbackInfo& info) {
  int value = 0;
  Succeeded(info.Env(), Dumpable(&value));
  return Napi::Boolean::New(info.Env(), value == 1);
}

Napi::Value Sigusr1(const Napi::CallbackInfo& info) {
  Disposition disposition = Disposition::kDefault;
  Succeeded(info.Env(), Sigusr1Disposition(&disposition));
  return Napi::String::New(info.Env(), disposition == Disposition::kIgnored   ? "ignored"
                                       : disposition == Disposition::kDefault ? "default"
                                                                              : "caught");
}

Napi::Value IgnoreSigusr1(const Napi::CallbackInfo& info) {
  Succeeded(info.Env(), upstreamproxy::IgnoreSigusr1());
  return info.Env().Undefined();
}

Napi::Value RestoreSigusr1(const Napi::CallbackInfo& info) {
  Succeeded(info.Env(), upstreamproxy::RestoreSigusr1());
  return info.Env().Undefined();
}

Napi::Value TracerPid(const Napi::CallbackInfo& info) {
  int pid = 0;
  Succeeded(info.Env(), upstreamproxy::TracerPid(&pid));
  return Napi::Number::New(info.Env(), pid);
}

Napi::Object ProcessExports(Napi::Env env) {
  Napi::Object process = Napi::Object::New(env);
  process.Set("setDumpable", Napi::Function::New<SetDumpable>(env, "setDumpable"));
  process.Set("isDumpable", Napi::Function::New<IsDumpable>(env, "isDumpable"));
  process.Set("sigusr1", Napi::Function::New<Sigusr1>(env, "sigusr1"));
  process.Set("ignoreSigusr1", Napi::Function::New<IgnoreSigusr1>(env, "ignoreSigusr1"));
  process.Set("restoreSigusr1", Napi::Function::New<RestoreSigusr1>(env, "restoreSigusr1"));
  process.Set("tracerPid", Napi::Function::New<TracerPid>(env, "tracerPid"));
  return process;
}

// ── sockets ──

// What holds on to the loop until its environment ends.
class LoopMember {
 public:
  // Lets go of everything; nothing comes from here any more.
  virtual void Release() = 0;

 protected:
  ~LoopMember() = default;

 private:
  friend struct Sockets;
  LoopMember* previous_ = nullptr;
  LoopMember* next_ = nullptr;
  bool is_listed_ = false;
};

class SocketObject;

// Payload on its way to one socket, gathered from several small reads (a TLS record is 16 KiB) so that the kernel is
// called, and the peer woken, once. At most one socket of a thread has any.
struct Batch {
  static constexpr size_t kBytes = 256 * 1024;

  uint8_t* bytes = nullptr;
  size_t size = 0;
  SocketObject* owner = nullptr;

  ~Batch() { free(bytes); }

  bool Has(size_t more) {
    if (bytes == nullptr) bytes = static_cast<uint8_t*>(malloc(kBytes));
    return bytes != nullptr && more <= kBytes - size;
  }
};

// What the sockets of one environment share. Freed when the last of libuv's handles is closed.
struct Sockets {
  // Where every read of every socket goes, one at a time: an idle socket owns no memory for it. Room before it for the
  // headers of a frame; what is read fills whole TLS records with them (32 of 16 KiB; bench/README.md, reads).
  static constexpr size_t kReadOffset = 32;
  static constexpr size_t kReadBytes = 512 * 1024 - 18;

  uv_loop_s* loop = nullptr;
  napi_env environment = nullptr;
  napi_async_context async_context = nullptr;
  napi_async_cleanup_hook_handle hook = nullptr;
  LoopMember* first = nullptr;
  uint8_t* arena = nullptr;
  // Keeps it, as JavaScript has it.
  napi_ref described_arena = nullptr;
  Batch batch;
  size_t closing = 0;
  bool torn_down = false;

  void List(LoopMember* member) {
    member->next_ = first;
    if (first != nullptr) first->previous_ = member;
    first = member;
    member->is_listed_ = true;
  }

  void Unlist(LoopMember* member) {
    if (!member->is_listed_) return;
    member->is_listed_ = false;
    if (member->previous_ != nullptr) {
      member->previous_->next_ = member->next_;
    } else {
      first = member->next_;
    }
    if (member->next_ != nullptr) member->next_->previous_ = member->previous_;
    member->previous_ = member->next_ = nullptr;
  }

  void Close(SocketWatcher* watcher) {
    if (watcher->Close(HandleClosed, this)) closing++;
  }

  static void HandleClosed(void* context) {
    auto* sockets = static_cast<Sockets*>(context);
    sockets->closing--;
    sockets->FinishTeardown();
  }

  void FinishTeardown() {
    if (!torn_down || closing > 0) return;
    napi_async_destroy(environment, async_context);
    napi_remove_async_cleanup_hook(hook);
    delete this;
  }

  // Calls a method of `options` of an object of ours. An exception of the callback's is an uncaught one of the program's.
  void Call(Napi::Object self, const char* name, napi_value argument) {
    const Napi::Env env = self.Env();
    const napi_value options = PropertyOf(env, self, "options");
    const napi_value callback = options == nullptr ? nullptr : PropertyOf(env, options, name);
    napi_valuetype type = napi_undefined;
    napi_status status = napi_ok;
    if (callback != nullptr && napi_typeof(env, callback, &type) == napi_ok && type == napi_function) {
      napi_value result;
      status = napi_make_callback(env, async_context, options, callback, 1, &argument, &result);
    }
    if (status == napi_ok && !env.IsExceptionPending()) return;
    napi_value exception;
    if (napi_get_and_clear_last_exception(env, &exception) == napi_ok) napi_fatal_exception(env, exception);
  }
};

// Whether JavaScript can run; not in the turn of the loop that Node makes before an environment ends.
bool HasOptions(Napi::Object self) {
  bool has_options = false;
  return napi_has_named_property(self.Env(), self, "options", &has_options) == napi_ok;
}

class SocketObject final : public Napi::ObjectWrap<SocketObject>, public LoopMember {
 public:
  static constexpr napi_type_tag kTag = {0x4f2c7d1a9e3b4c58, 0x8a61d0f37be249c5};

  static Napi::Function Define(Napi::Env env, Sockets* sockets) {
    return DefineClass(
        env, "StreamSocket",
        {InstanceAccessor<&SocketObject::QueuedBytes>("queuedBytes"), InstanceMethod<&SocketObject::Write>("write"),
         InstanceMethod<&SocketObject::End>("end"), InstanceMethod<&SocketObject::Destroy>("destroy"),
         InstanceMethod<&SocketObject::Reset>("reset"), InstanceMethod<&SocketObject::ReadStart>("readStart"),
         InstanceMethod<&SocketObject::ReadStop>("readStop"), InstanceMethod<&SocketObject::KeepAlive>("ref"),
         InstanceMethod<&SocketObject::LetGo>("unref")},
        sockets);
  }

  // The native socket behind an object of ours; null for any other.
  static SocketObject* Of(Napi::Object object) {
    return object.CheckTypeTag(&kTag) ? SocketObject::Unwrap(object) : nullptr;
  }

  explicit SocketObject(const Napi::CallbackInfo& info)
      : Napi::ObjectWrap<SocketObject>(info), socket_(CapOf(info)), sockets_(static_cast<Sockets*>(info.Data())) {
    const Napi::Env env = info.Env();
    if (env.IsExceptionPending()) return;
    const bool adopts = IsSet(env, info[1], "adopt");
    if (env.IsExceptionPending()) return;
    watches_paused_ = IsSet(env, info[1], "watchPaused");
    if (env.IsExceptionPending()) return;
    // What is no descriptor (NaN is none either) must not become that of standard input.
    const double number = info[0].As<Napi::Number>().DoubleValue();
    const int descriptor = number >= 0 && number <= 0x7fffffff ? static_cast<int>(number) : -1;
    if (adopts && descriptor >= 0) {
      socket_.Adopt(descriptor);
    } else if (!Succeeded(env, socket_.Open(descriptor))) {
      return;
    }
    Napi::Object self = info.This().As<Napi::Object>();
    self.TypeTag(&kTag);
    self.DefineProperty(Napi::PropertyDescriptor::Value("options", info[1]));
    sockets_->List(this);
    is_open_ = true;
  }

  ~SocketObject() { Release(); }

  SystemResult WritePieces(const struct iovec* pieces, size_t count) {
    SystemResult result;
    Batch* batch = &sockets_->batch;
    if (batch->owner == this && count < kJoined) {
      // One call for both.
      struct iovec joined[kJoined];
      joined[0] = {batch->bytes, batch->size};
      memcpy(joined + 1, pieces, count * sizeof(*pieces));
      batch->owner = nullptr;
      batch->size = 0;
      result = socket_.Write(joined, count + 1);
    } else {
      result = FlushBatch();
      if (result.ok()) result = socket_.Write(pieces, count);
    }
    return result.ok() ? Watch() : Settled(result);
  }

  // The same a little later: with what follows, or at the next Flush. A failure then comes by callback.
  SystemResult Gather(const struct iovec* pieces, size_t count) {
    size_t total = 0;
    for (size_t i = 0; i < count; i++) total += pieces[i].iov_len;
    Batch* batch = &sockets_->batch;
    if (batch->owner != this) FlushBatchOf(sockets_);
    // Behind a queue there is nothing to be won.
    if (socket_.queued_bytes() > 0 || !batch->Has(total)) return WritePieces(pieces, count);
    batch->owner = this;
    for (size_t i = 0; i < count; i++) {
      memcpy(batch->bytes + batch->size, pieces[i].iov_base, pieces[i].iov_len);
      batch->size += pieces[i].iov_len;
    }
    return {};
  }

  // Whosever it is.
  static void FlushBatchOf(Sockets* sockets) {
    SocketObject* owner = sockets->batch.owner;
    if (owner == nullptr) return;
    const SystemResult result = owner->FlushBatch();
    if (result.ok()) return;
    owner->Break(result);
    owner->tells_failure_ = true;
    owner->Watch();
  }

  // Some of a stream is missing: nothing may follow it, an end least of all.
  SystemResult Break(SystemResult result) { return Settled(socket_.Break(result)); }

  size_t queued_bytes() const {
    return socket_.queued_bytes() + (sockets_->batch.owner == this ? sockets_->batch.size : 0);
  }

  // without what is gathered
  size_t waiting_bytes() const { return socket_.queued_bytes(); }

  void Release() override { LetGoOf(&StreamSocket::Destroy); }

 private:
  enum class Reading { kNo, kYes, kOver };
  static constexpr size_t kJoined = 65;
  static constexpr uint32_t kFewPieces = 32;
  static constexpr uint32_t kMaxPieces = 65536;

  static size_t CapOf(const Napi::CallbackInfo& info) {
    const Napi::Env env = info.Env();
    if (!info[0].IsNumber() || !info[1].IsObject()) {
      ThrowType(env, "expected a descriptor and an object of options");
      return 0;
    }
    const napi_value cap = PropertyOf(env, info[1], "maxQueuedBytes");
    if (env.IsExceptionPending()) return 0;
    uint64_t bytes = 0;
    if (!CapIn(env, cap, &bytes)) ThrowType(env, "expected maxQueuedBytes, a number of bytes");
    return static_cast<size_t>(bytes);
  }

  static void OnEvents(void* socket, int events) { static_cast<SocketObject*>(socket)->Ready(events); }

  Napi::Value QueuedBytes(const Napi::CallbackInfo& info) {
    return Napi::Number::New(info.Env(), static_cast<double>(queued_bytes()));
  }

  Napi::Value Write(const Napi::CallbackInfo& info) {
    const Napi::Env env = info.Env();
    Bytes single;
    if (BytesOf(env, info[0], &single)) {
      const struct iovec piece = {const_cast<uint8_t*>(single.data), single.size};
      Succeeded(env, WritePieces(&piece, 1));
      return Napi::Number::New(env, static_cast<double>(socket_.queued_bytes()));
    }
    uint32_t count = 0;
    if (napi_get_array_length(env, info[0], &count) != napi_ok) {
      ThrowType(env, "expected a Uint8Array, or an array of them");
      return env.Undefined();
    }
    if (count > kMaxPieces) {
      Napi::RangeError::New(env, "expected at most 65536 pieces").ThrowAsJavaScriptException();
      return env.Undefined();
    }
    // First all the elements, since a getter among them may run; then where they lie.
    napi_value few_values[kFewPieces];
    struct iovec few_pieces[kFewPieces];
    const bool are_few = count <= kFewPieces;
    std::vector<napi_value> many_values(are_few ? 0 : count);
    std::vector<struct iovec> many_pieces(are_few ? 0 : count);
    napi_value* values = are_few ? few_values : many_values.data();
    struct iovec* pieces = are_few ? few_pieces : many_pieces.data();
    for (uint32_t i = 0; i < count; i++) {
      if (napi_get_element(env, info[0], i, &values[i]) != napi_ok) return env.Undefined();
    }
    for (uint32_t i = 0; i < count; i++) {
      Bytes bytes;
      if (!BytesOf(env, values[i], &bytes)) {
        ThrowType(env, "expected a Uint8Array, or an array of them");
        return env.Undefined();
      }
      pieces[i] = {const_cast<uint8_t*>(bytes.data), bytes.size};
    }
    Succeeded(env, WritePieces(pieces, count));
    return Napi::Number::New(env, static_cast<double>(socket_.queued_bytes()));
  }

  Napi::Value End(const Napi::CallbackInfo& info) {
    const bool had_ended = socket_.ended();
    SystemResult result = FlushBatch();
    result = Settled(result.ok() ? socket_.End() : result);
    // No callback comes out of a call of the caller's own: this one waits for the loop, by way of a watch.
    if (result.ok() && socket_.ended() && !had_ended) {
      tells_end_ = true;
      result = Watch();
    }
    Succeeded(info.Env(), result);
    return info.Env().Undefined();
  }

  Napi::Value Destroy(const Napi::CallbackInfo& info) {
    Release();
    return info.Env().Undefined();
  }

  Napi::Value Reset(const Napi::CallbackInfo& info) {
    LetGoOf(&StreamSocket::Reset);
    return info.Env().Undefined();
  }

  Napi::Value ReadStart(const Napi::CallbackInfo& info) {
    if (sockets_->arena == nullptr) {
      ThrowType(info.Env(), "expected readArena() to have been called");
    } else if (reading_ == Reading::kNo && socket_.descriptor() >= 0) {
      reads_ = true;
      reading_ = Reading::kYes;
      Succeeded(info.Env(), Watch());
    }
    return info.Env().Undefined();
  }

  Napi::Value ReadStop(const Napi::CallbackInfo& info) {
    // What is watched changes when next it is readable: most stops are over by then.
    if (reading_ == Reading::kYes) reading_ = Reading::kNo;
    return info.Env().Undefined();
  }

  Napi::Value KeepAlive(const Napi::CallbackInfo& info) {
    watcher_.KeepAlive(true);
    return info.This();
  }

  Napi::Value LetGo(const Napi::CallbackInfo& info) {
    watcher_.KeepAlive(false);
    return info.This();
  }

  // What was gathered for this socket, if anything was.
  SystemResult FlushBatch() {
    Batch* batch = &sockets_->batch;
    if (batch->owner != this) return {};
    const struct iovec piece = {batch->bytes, batch->size};
    batch->owner = nullptr;
    batch->size = 0;
    const SystemResult result = socket_.Write(&piece, 1);
    return result.ok() ? Watch() : Settled(result);
  }

  void LetGoOf(void (StreamSocket::*how)()) {
    if (is_open_) {
      is_open_ = false;
      if (sockets_->batch.owner == this) {
        sockets_->batch.owner = nullptr;
        sockets_->batch.size = 0;
      }
      sockets_->Unlist(this);
      Rest();
      sockets_->Close(&watcher_);
    }
    (socket_.*how)();
  }

  int Interest() const {
    if (socket_.descriptor() < 0) return 0;
    int events = 0;
    if (socket_.wants_writable() || tells_end_ || tells_failure_) events |= SocketWatcher::kWritable;
    if (reading_ == Reading::kYes) events |= SocketWatcher::kReadable;
    // A peer that goes while nobody reads is noticed once; a FIN would otherwise be told over and over.
    if (reading_ == Reading::kNo && watches_paused_ && reads_ && !saw_disconnect_)
      events |= SocketWatcher::kDisconnected;
    return events;
  }

  // What is queued, or read, keeps the object from being collected.
  SystemResult Watch() {
    const int events = Interest();
    if (events == watched_) return {};
    if (events == 0) {
      Rest();
      return {};
    }
    const int error = watcher_.Start(sockets_->loop, socket_.descriptor(), events, OnEvents, this);
    if (error != 0) {
      Release();
      return {error, "uv_poll_start"};
    }
    if (watched_ == 0) Napi::ObjectWrap<SocketObject>::Ref();
    watched_ = events;
    return {};
  }

  // The opposite: nothing waits any more.
  void Rest() {
    if (watched_ == 0) return;
    watched_ = 0;
    watcher_.Stop();
    Napi::ObjectWrap<SocketObject>::Unref();
  }

  // A broken socket has nothing to wait for, but what is still to be read.
  SystemResult Settled(SystemResult result) {
    if (socket_.broken()) {
      tells_end_ = false;
      if (!ReadsOut()) Rest();
    }
    return result;
  }

  // Where a write has failed, what the peer sent before it went may still be read; then comes the failure.
  bool ReadsOut() const { return reads_ && !watches_paused_ && reading_ != Reading::kOver; }

  void Ready(int events) {
    const Napi::Env env = Env();
    const Napi::HandleScope scope(env);
    // Keeps it through the callbacks, whatever becomes of the reference.
    const Napi::Object self = Value();
    if (!HasOptions(self)) return Release();
    const bool broken = events == 0;
    if (broken) {
      // libuv has stopped to watch. What came before the error is still to be read; then the kernel tells it.
      Napi::ObjectWrap<SocketObject>::Ref();
      Rest();
      if (reading_ == Reading::kYes) {
        ReadOnce(self, true);
      } else {
        // If the kernel has no name for what is wrong, the peer is gone all the same.
        const SystemResult result = socket_.Drain();
        // Whoever reads on will hear of it.
        if (!ReadsOut()) Fail(self, result.ok() ? SystemResult{ECONNRESET, "poll"} : result);
      }
      Napi::ObjectWrap<SocketObject>::Unref();
      return;
    }
    if ((events & SocketWatcher::kDisconnected) != 0) saw_disconnect_ = true;
    if ((events & SocketWatcher::kWritable) != 0 && !DrainOnce(self)) return;
    if ((events & SocketWatcher::kReadable) != 0 && reading_ == Reading::kYes) {
      ReadOnce(self, false);
      return;
    }
    Watched(self);
  }

  // False where nothing is left to be done with it.
  bool DrainOnce(Napi::Object self) {
    const SystemResult result = socket_.Drain();
    if (!result.ok()) {
      tells_failure_ = false;
      if (ReadsOut()) return Watched(self);
      Fail(self, result);
      return false;
    }
    if (socket_.wants_writable()) return true;
    const bool tells_end = tells_end_ || socket_.ended();
    tells_end_ = false;
    if (!Watched(self)) return false;
    sockets_->Call(self, tells_end ? "onClosed" : "onDrained", Env().Undefined());
    return socket_.descriptor() >= 0;
  }

  // One recv a wake-up: others have their turn.
  void ReadOnce(Napi::Object self, bool broken) {
    size_t size = 0;
    const SystemResult result = socket_.Read(sockets_->arena + Sockets::kReadOffset, Sockets::kReadBytes, &size);
    if (!result.ok()) {
      if (result.error != EAGAIN && result.error != EWOULDBLOCK) return Fail(self, result);
      if (broken) return Fail(self, {ECONNRESET, "poll"});
      return;
    }
    if (size == 0) {
      reading_ = Reading::kOver;
      // The kernel tells an error once, and whoever wrote has had it: this is no FIN.
      if (socket_.broken()) return Fail(self, socket_.Drain());
    }
    if (!Watched(self)) return;
    sockets_->Call(self, "onRead", Napi::Number::New(Env(), static_cast<double>(size)));
  }

  // Watch, where the failure is told by callback.
  bool Watched(Napi::Object self) {
    const SystemResult result = Watch();
    if (!result.ok()) Fail(self, result);
    return result.ok();
  }

  void Fail(Napi::Object self, SystemResult result) {
    const Napi::Error error = SystemError(Env(), result);
    Release();
    sockets_->Call(self, "onFailed", error.Value());
  }

  StreamSocket socket_;
  SocketWatcher watcher_;
  Sockets* sockets_;
  Reading reading_ = Reading::kNo;
  // The events that are watched for.
  int watched_ = 0;
  bool watches_paused_ = false;
  bool saw_disconnect_ = false;
  // Reading has begun at some time.
  bool reads_ = false;
  // `onClosed` is still to come.
  bool tells_end_ = false;
  // `onFailed` is still to come.
  bool tells_failure_ = false;
  // Between construction and Release.
  bool is_open_ = false;
};

class ListenerObject final : public Napi::ObjectWrap<ListenerObject>, public LoopMember {
 public:
  static Napi::Function Define(Napi::Env env, Sockets* sockets) {
    return DefineClass(env, "LoopbackListener",
                       {InstanceAccessor<&ListenerObject::Port>("port"), InstanceMethod<&ListenerObject::Close>("close"),
                        InstanceMethod<&ListenerObject::Resume>("resume"), InstanceMethod<&ListenerObject::LetGo>("unref")},
                       sockets);
  }

  explicit ListenerObject(const Napi::CallbackInfo& info)
      : Napi::ObjectWrap<ListenerObject>(info), sockets_(static_cast<Sockets*>(info.Data())) {
    const Napi::Env env = info.Env();
    const double port = info[0].IsNumber() ? info[0].As<Napi::Number>().DoubleValue() : -1;
    const double backlog = info[1].IsNumber() ? info[1].As<Napi::Number>().DoubleValue() : -1;
    if (!(port >= 0 && port <= 65535) || !(backlog >= 0 && backlog <= 65535) || !info[2].IsObject()) {
      ThrowType(env, "expected a port, a backlog and an object of options");
      return;
    }
    if (!Succeeded(env, listener_.Listen(static_cast<uint16_t>(port), static_cast<int>(backlog)))) return;
    info.This().As<Napi::Object>().DefineProperty(Napi::PropertyDescriptor::Value("options", info[2]));
    sockets_->List(this);
    Succeeded(env, Watch());
  }

  ~ListenerObject() { Release(); }

  void Release() override {
    sockets_->Unlist(this);
    Rest();
    sockets_->Close(&watcher_);
    listener_.Close();
  }

 private:
  // A burst is taken in turns with what is open already.
  static constexpr int kAcceptsPerTurn = 32;

  static void OnEvents(void* listener, int) { static_cast<ListenerObject*>(listener)->Ready(); }

  Napi::Value Port(const Napi::CallbackInfo& info) { return Napi::Number::New(info.Env(), listener_.port()); }

  Napi::Value Close(const Napi::CallbackInfo& info) {
    Release();
    return info.Env().Undefined();
  }

  Napi::Value Resume(const Napi::CallbackInfo& info) {
    if (listener_.descriptor() >= 0) Succeeded(info.Env(), Watch());
    return info.Env().Undefined();
  }

  Napi::Value LetGo(const Napi::CallbackInfo& info) {
    watcher_.KeepAlive(false);
    return info.This();
  }

  SystemResult Watch() {
    if (is_watching_) return {};
    const int error = watcher_.Start(sockets_->loop, listener_.descriptor(), SocketWatcher::kReadable, OnEvents, this);
    if (error != 0) {
      Release();
      return {error, "uv_poll_start"};
    }
    is_watching_ = true;
    Ref();
    return {};
  }

  void Rest() {
    if (!is_watching_) return;
    is_watching_ = false;
    watcher_.Stop();
    Unref();
  }

  void Ready() {
    const Napi::Env env = Env();
    const Napi::HandleScope scope(env);
    const Napi::Object self = Value();
    if (!HasOptions(self)) return Release();
    for (int i = 0; i < kAcceptsPerTurn && listener_.descriptor() >= 0; i++) {
      int descriptor = -1;
      const SystemResult result = listener_.Accept(&descriptor);
      if (!result.ok()) {
        // Whoever listens decides when to go on.
        Rest();
        return sockets_->Call(self, "onFailed", SystemError(env, result).Value());
      }
      if (descriptor < 0) return;
      sockets_->Call(self, "onConnection", Napi::Number::New(env, descriptor));
    }
  }

  LoopbackListener listener_;
  SocketWatcher watcher_;
  Sockets* sockets_;
  bool is_watching_ = false;
};

// Where reads go; the same memory every time. It belongs to the environment for as long as that lives.
Napi::Value ReadArena(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  auto* sockets = static_cast<Sockets*>(info.Data());
  if (sockets->arena == nullptr) {
    Napi::Buffer<uint8_t> arena = Napi::Buffer<uint8_t>::New(env, Sockets::kReadOffset + Sockets::kReadBytes);
    if (arena.IsEmpty()) return env.Undefined();
    Napi::Object described = Napi::Object::New(env);
    described.DefineProperty(Napi::PropertyDescriptor::Value("bytes", arena, napi_enumerable));
    described.DefineProperty(
        Napi::PropertyDescriptor::Value("offset", Napi::Number::New(env, Sockets::kReadOffset), napi_enumerable));
    if (napi_create_reference(env, described, 1, &sockets->described_arena) != napi_ok) return env.Undefined();
    sockets->arena = arena.Data();
  }
  napi_value described = nullptr;
  napi_get_reference_value(env, sockets->described_arena, &described);
  return Napi::Value(env, described);
}

Napi::Value Flush(const Napi::CallbackInfo& info) {
  SocketObject::FlushBatchOf(static_cast<Sockets*>(info.Data()));
  return info.Env().Undefined();
}

void TearDown(napi_async_cleanup_hook_handle, void* data) {
  auto* sockets = static_cast<Sockets*>(data);
  sockets->torn_down = true;
  while (sockets->first != nullptr) sockets->first->Release();
  sockets->FinishTeardown();
}

// Where this program has a loop that may be used: not on Bun, whose uv_* functions abort when called.
void ExportSockets(Napi::Env env, Napi::Object exports) {
  const Napi::Value process = env.Global().Get("process");
  const Napi::Value versions = process.IsObject() ? process.As<Napi::Object>().Get("versions") : env.Undefined();
  if (!versions.IsObject() || versions.As<Napi::Object>().Has("bun") || !SocketWatcher::available()) return;
  auto* sockets = new Sockets;
  sockets->environment = env;
  napi_value name = Napi::String::New(env, "upstreamproxy:StreamSocket");
  const bool made = napi_get_uv_event_loop(env, reinterpret_cast<struct uv_loop_s**>(&sockets->loop)) == napi_ok &&
                    napi_async_init(env, nullptr, name, &sockets->async_context) == napi_ok &&
                    napi_add_async_cleanup_hook(env, TearDown, sockets, &sockets->hook) == napi_ok;
  if (!made) {
    delete sockets;
    return;
  }
  Napi::Object all = Napi::Object::New(env);
  all.Set("StreamSocket", SocketObject::Define(env, sockets));
  all.Set("LoopbackListener", ListenerObject::Define(env, sockets));
  all.Set("flush", Napi::Function::New<Flush>(env, "flush", sockets));
  all.Set("readArena", Napi::Function::New<ReadArena>(env, "readArena", sockets));
  exports.Set("sockets", all);
}

// ── framing ──

Napi::Value EncodeFrameInto(const Napi::CallbackInfo& info) {
  const napi_env env = info.Env();
  Bytes arena;
  int64_t start, bytes, key;
  if (!BytesOf(env, info[0], &arena) || !info[1].IsNumber() || !info[2].IsNumber() ||
      napi_get_value_int64(env, info[3], &key) != napi_ok) {
    ThrowType(info.Env(), "expected a Uint8Array and three numbers");
    return info.Env().Undefined();
  }
  const auto size = static_cast<int64_t>(arena.size);
  const bool fits = IntegerIn(info[1], &start) && IntegerIn(info[2], &bytes) && bytes >= 0 &&
                    bytes <= static_cast<int64_t>(kMaxChunkBytes) && start >= 0 && start <= size &&
                    bytes <= size - start &&
                    start >= static_cast<int64_t>(FrameHeaderBytes(static_cast<size_t>(bytes)));
  if (!fits) {
    Napi::RangeError::New(info.Env(), "the arena cannot hold the frame").ThrowAsJavaScriptException();
    return info.Env().Undefined();
  }
  auto* payload = const_cast<uint8_t*>(arena.data) + start;
  const uint8_t* frame = EncodeFrame(payload, static_cast<size_t>(bytes), static_cast<uint32_t>(key));
  return Napi::Number::New(env, static_cast<double>(frame - arena.data));
}

// Keeps payload until JavaScript takes it.
class KeepingSink final : public PayloadSink {
 public:
  ~KeepingSink() { free(data_); }

  void Take(Bytes piece) override {
    if (piece.size > capacity_ - size_) {
      const size_t capacity = size_ + piece.size > 2 * capacity_ ? size_ + piece.size : 2 * capacity_;
      auto* grown = static_cast<uint8_t*>(realloc(data_, capacity));
      if (grown == nullptr) {
        out_of_memory_ = true;
        return;
      }
      data_ = grown;
      capacity_ = capacity;
    }
    memcpy(data_ + size_, piece.data, piece.size);
    size_ += piece.size;
  }

  void TakePassing(Bytes piece) override { Take(piece); }

  SystemResult result() const { return {out_of_memory_ ? ENOMEM : 0, "realloc"}; }

  // A copy of what was kept, which is kept no longer; empty where there is nothing.
  Napi::Array TakeAll(Napi::Env env) {
    Napi::Array pieces = Napi::Array::New(env);
    if (size_ > 0) pieces.Set(uint32_t{0}, Napi::Buffer<uint8_t>::Copy(env, data_, size_));
    free(data_);
    data_ = nullptr;
    size_ = capacity_ = 0;
    return pieces;
  }

 private:
  uint8_t* data_ = nullptr;
  size_t size_ = 0;
  size_t capacity_ = 0;
  bool out_of_memory_ = false;
};

// Hands payload to a native writer: pieces as they lie in what was pushed, many to a call. Small ones are copied side by
// side, since a list of a thousand tiny pieces costs the kernel more than that.
class WriterSink final : public PayloadSink {
 public:
  WriterSink(SocketObject* writer, bool gathers) : writer_(writer), gathers_(gathers) {}

  void Take(Bytes piece) override {
    if (piece.size > kSmallBytes) {
      Add(piece.data, piece.size);
      return;
    }
    if (piece.size > sizeof(small_) - small_bytes_) Flush();
    uint8_t* copy = small_ + small_bytes_;
    memcpy(copy, piece.data, piece.size);
    small_bytes_ += piece.size;
    const bool joins = count_ > 0 && static_cast<uint8_t*>(pieces_[count_ - 1].iov_base) + pieces_[count_ - 1].iov_len == copy;
    if (joins) {
      pieces_[count_ - 1].iov_len += piece.size;
    } else {
      Add(copy, piece.size);
    }
  }

  void TakePassing(Bytes piece) override {
    Add(piece.data, piece.size);
    Flush();
  }

  SystemResult Finish() {
    Flush();
    return result_;
  }

 private:
  static constexpr size_t kPieces = 64;
  static constexpr size_t kSmallBytes = 512;

  void Add(const uint8_t* data, size_t size) {
    pieces_[count_++] = {const_cast<uint8_t*>(data), size};
    if (count_ == kPieces) Flush();
  }

  void Flush() {
    if (count_ > 0 && result_.ok()) {
      result_ = gathers_ ? writer_->Gather(pieces_, count_) : writer_->WritePieces(pieces_, count_);
      if (!result_.ok()) writer_->Break(result_);
    }
    count_ = 0;
    small_bytes_ = 0;
  }

  SocketObject* writer_;
  const bool gathers_;
  SystemResult result_;
  size_t count_ = 0;
  size_t small_bytes_ = 0;
  struct iovec pieces_[kPieces];
  uint8_t small_[8 * 1024];
};

class DecoderObject final : public Napi::ObjectWrap<DecoderObject> {
 public:
  static Napi::Function Define(Napi::Env env) {
    return DefineClass(
        env, "FrameDecoder",
        {InstanceMethod<&DecoderObject::Push>("push"), InstanceMethod<&DecoderObject::PassTo>("passTo"),
         InstanceMethod<&DecoderObject::Pass>("pass"), InstanceMethod<&DecoderObject::TakePayload>("takePayload"),
         InstanceMethod<&DecoderObject::TakePing>("takePing"),
         InstanceAccessor<&DecoderObject::PayloadBytes>("payloadBytes"),
         InstanceAccessor<&DecoderObject::CloseCode>("closeCode"), InstanceAccessor<&DecoderObject::Failure>("failure"),
         InstanceAccessor<&DecoderObject::BetweenMessages>("betweenMessages")});
  }

  explicit DecoderObject(const Napi::CallbackInfo& info)
      : Napi::ObjectWrap<DecoderObject>(info), decoder_(CapOf(info)) {}

 private:
  static uint64_t CapOf(const Napi::CallbackInfo& info) {
    const Napi::Env env = info.Env();
    if (info[0].IsObject()) {
      const napi_value cap = PropertyOf(env, info[0], "maxMessageBytes");
      if (env.IsExceptionPending()) return 0;
      uint64_t bytes;
      if (CapIn(env, cap, &bytes)) return bytes;
    }
    ThrowType(env, "expected maxMessageBytes, a number of bytes");
    return 0;
  }

  Napi::Value Push(const Napi::CallbackInfo& info) {
    const Napi::Env env = info.Env();
    Bytes bytes;
    if (!BytesOf(env, info[0], &bytes)) {
      ThrowType(env, "expected a Uint8Array");
      return env.Undefined();
    }
    if (!info[1].IsObject()) {
      const unsigned events = decoder_.Push(bytes, &kept_);
      Succeeded(env, kept_.result());
      return Napi::Number::New(env, events);
    }
    SocketObject* writer = SocketObject::Of(info[1].As<Napi::Object>());
    if (writer == nullptr) return PushToForeign(env, bytes, info[1].As<Napi::Object>());
    WriterSink sink(writer, false);
    unsigned events = decoder_.Push(bytes, &sink);
    if (!Succeeded(env, sink.Finish())) return env.Undefined();
    if (writer->waiting_bytes() > 0) events |= kEventQueued;
    return Napi::Number::New(env, events);
  }

  Napi::Value PassTo(const Napi::CallbackInfo& info) {
    Bytes inbox;
    SocketObject* socket = info[1].IsObject() ? SocketObject::Of(info[1].As<Napi::Object>()) : nullptr;
    if (!BytesOf(info.Env(), info[0], &inbox) || socket == nullptr) {
      ThrowType(info.Env(), "expected a Uint8Array and a StreamSocket");
      return info.Env().Undefined();
    }
    // The properties keep both for as long as this object lives.
    Napi::Object self = info.This().As<Napi::Object>();
    self.DefineProperty(Napi::PropertyDescriptor::Value("inbox", info[0]));
    self.DefineProperty(Napi::PropertyDescriptor::Value("socket", info[1]));
    if (info.Env().IsExceptionPending()) return info.Env().Undefined();
    inbox_ = inbox;
    socket_ = socket;
    return info.Env().Undefined();
  }

  Napi::Value Pass(const Napi::CallbackInfo& info) {
    const Napi::Env env = info.Env();
    uint32_t count = 0;
    if (socket_ == nullptr || napi_get_value_uint32(env, info[0], &count) != napi_ok || count > inbox_.size) {
      ThrowType(env, "expected a number of bytes in the inbox of passTo");
      return env.Undefined();
    }
    const uint64_t before = decoder_.payload_bytes();
    WriterSink sink(socket_, info[1].ToBoolean().Value());
    const unsigned events = decoder_.Push({inbox_.data, count}, &sink);
    if (!Succeeded(env, sink.Finish())) return env.Undefined();
    if ((events & ~kEventPayload) != 0 || socket_->waiting_bytes() > 0)
      return Napi::Number::New(env, -static_cast<double>(events | (socket_->waiting_bytes() > 0 ? kEventQueued : 0)));
    return Napi::Number::New(env, static_cast<double>(decoder_.payload_bytes() - before));
  }

  // A writer that is JavaScript's, such as one over node:net. What waits to be taken goes on waiting.
  Napi::Value PushToForeign(Napi::Env env, Bytes bytes, Napi::Object writer) {
    KeepingSink passing;
    unsigned events = decoder_.Push(bytes, &passing);
    if (!Succeeded(env, passing.result())) return env.Undefined();
    if ((events & kEventPayload) == 0) return Napi::Number::New(env, events);
    const Napi::Value write = writer.Get("write");
    if (env.IsExceptionPending()) return env.Undefined();
    if (!write.IsFunction()) {
      ThrowType(env, "expected a StreamSocket");
      return env.Undefined();
    }
    const Napi::Value queued = write.As<Napi::Function>().Call(writer, {passing.TakeAll(env)});
    if (env.IsExceptionPending()) return env.Undefined();
    if (queued.IsNumber() && queued.As<Napi::Number>().DoubleValue() > 0) events |= kEventQueued;
    return Napi::Number::New(env, events);
  }

  Napi::Value TakePayload(const Napi::CallbackInfo& info) { return kept_.TakeAll(info.Env()); }

  Napi::Value TakePing(const Napi::CallbackInfo& info) {
    Bytes payload;
    if (!decoder_.TakePing(&payload)) return info.Env().Undefined();
    return Napi::Buffer<uint8_t>::Copy(info.Env(), payload.data, payload.size);
  }

  Napi::Value PayloadBytes(const Napi::CallbackInfo& info) {
    return Napi::Number::New(info.Env(), static_cast<double>(decoder_.payload_bytes()));
  }

  Napi::Value CloseCode(const Napi::CallbackInfo& info) {
    if (decoder_.close_code() == 0) return info.Env().Undefined();
    return Napi::Number::New(info.Env(), decoder_.close_code());
  }

  Napi::Value Failure(const Napi::CallbackInfo& info) {
    const Napi::Env env = info.Env();
    if (decoder_.failure() == FramingFailure::kNone) return env.Undefined();
    Napi::Object failure = Napi::Object::New(env);
    failure.Set("code", Napi::String::New(env, FailureCode(decoder_.failure())));
    failure.Set("message", Napi::String::New(env, FailureText(decoder_.failure())));
    return failure;
  }

  Napi::Value BetweenMessages(const Napi::CallbackInfo& info) {
    return Napi::Boolean::New(info.Env(), decoder_.between_messages());
  }

  FrameDecoder decoder_;
  KeepingSink kept_;
  // Of passTo; kept by properties of this object.
  Bytes inbox_;
  SocketObject* socket_ = nullptr;
};

Napi::Value CreateDecoder(const Napi::CallbackInfo& info) {
  const napi_value options = info[0];
  napi_value decoder;
  auto* constructor = static_cast<Napi::FunctionReference*>(info.Data());
  if (napi_new_instance(info.Env(), constructor->Value(), 1, &options, &decoder) != napi_ok)
    return info.Env().Undefined();
  return Napi::Value(info.Env(), decoder);
}

Napi::Object FramingExports(Napi::Env env) {
  Napi::Object framing = Napi::Object::New(env);
  const Napi::Function decoder = DecoderObject::Define(env);
  if (decoder.IsEmpty()) return framing;
  auto* constructor = new Napi::FunctionReference(Napi::Persistent(decoder));
  env.SetInstanceData<Napi::FunctionReference>(constructor);
  framing.Set("encodeFrameInto", Napi::Function::New<EncodeFrameInto>(env, "encodeFrameInto"));
  framing.Set("createDecoder", Napi::Function::New<CreateDecoder>(env, "createDecoder", constructor));
  return framing;
}

Napi::Object Init(Napi::Env env, Napi::Object exports) {
  exports.Set("version", Napi::String::New(env, kInterfaceVersion));
  exports.Set("process", ProcessExports(env));
  exports.Set("framing", FramingExports(env));
  ExportSockets(env, exports);
  return exports;
}

NODE_API_MODULE(upstreamproxy, Init)

}  // namespace
}  // namespace upstreamproxy
