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
#include "process_control.h"
#include "socket_writer.h"
#include "writable_watcher.h"

namespace upstreamproxy {
namespace {

constexpr char kInterfaceVersion[] = "1";
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
bool CapIn(Napi::Value value, uint64_t* cap) {
  if (!value.IsNumber()) return false;
  const double number = value.As<Napi::Number>().DoubleValue();
  if (!(number >= 0)) return false;
  constexpr uint64_t kMostBytes = (1ULL << 53) - 1;
  *cap = number < static_cast<double>(kMostBytes) ? static_cast<uint64_t>(number) : kMostBytes;
  return true;
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

// ── writers ──

class WriterObject;

// What the writers of one environment share. Freed when the last of libuv's handles is closed.
struct Writers {
  uv_loop_s* loop = nullptr;
  napi_async_context async_context = nullptr;
  napi_async_cleanup_hook_handle hook = nullptr;
  WriterObject* first = nullptr;
  size_t closing = 0;
  bool torn_down = false;

  void HandleClosed() {
    closing--;
    FinishTeardown();
  }

  void FinishTeardown() {
    if (!torn_down || closing > 0) return;
    napi_remove_async_cleanup_hook(hook);
    delete this;
  }
};

class WriterObject final : public Napi::ObjectWrap<WriterObject> {
 public:
  static constexpr napi_type_tag kTag = {0x4f2c7d1a9e3b4c58, 0x8a61d0f37be249c5};

  static Napi::Function Define(Napi::Env env, Writers* writers) {
    return DefineClass(env, "SocketWriter",
                       {InstanceAccessor<&WriterObject::QueuedBytes>("queuedBytes"),
                        InstanceMethod<&WriterObject::Write>("write"), InstanceMethod<&WriterObject::End>("end"),
                        InstanceMethod<&WriterObject::Destroy>("destroy"), InstanceMethod<&WriterObject::Ref>("ref"),
                        InstanceMethod<&WriterObject::Unref>("unref")},
                       writers);
  }

  // The native writer behind an object of ours; null for any other.
  static WriterObject* Of(Napi::Object object) {
    return object.CheckTypeTag(&kTag) ? WriterObject::Unwrap(object) : nullptr;
  }

  explicit WriterObject(const Napi::CallbackInfo& info)
      : Napi::ObjectWrap<WriterObject>(info), writer_(CapOf(info)), writers_(static_cast<Writers*>(info.Data())) {
    const Napi::Env env = info.Env();
    if (env.IsExceptionPending()) return;
    // What is no descriptor (NaN is none either) must not become that of standard input.
    const double number = info[0].As<Napi::Number>().DoubleValue();
    const int descriptor = number >= 0 && number <= 0x7fffffff ? static_cast<int>(number) : -1;
    if (!Succeeded(env, writer_.Open(descriptor))) return;
    Napi::Object self = info.This().As<Napi::Object>();
    self.TypeTag(&kTag);
    self.DefineProperty(Napi::PropertyDescriptor::Value("options", info[1]));
    next_ = writers_->first;
    if (next_ != nullptr) next_->previous_ = this;
    writers_->first = this;
    is_listed_ = true;
  }

  ~WriterObject() { Release(); }

  SystemResult WritePieces(const struct iovec* pieces, size_t count) {
    const SystemResult result = writer_.Write(pieces, count);
    return result.ok() ? Watch() : Settled(result);
  }

  size_t queued_bytes() const { return writer_.queued_bytes(); }

  // Lets go of everything; nothing comes from here any more.
  void Release() {
    Unlist();
    Rest();
    if (writers_ != nullptr && watcher_.Close(HandleClosed, writers_)) writers_->closing++;
    writer_.Destroy();
  }

 private:
  static size_t CapOf(const Napi::CallbackInfo& info) {
    const Napi::Env env = info.Env();
    if (!info[0].IsNumber() || !info[1].IsObject()) {
      ThrowType(env, "expected a descriptor and an object of options");
      return 0;
    }
    const Napi::Value cap = info[1].As<Napi::Object>().Get("maxQueuedBytes");
    if (env.IsExceptionPending()) return 0;
    uint64_t bytes = 0;
    if (!CapIn(cap, &bytes)) ThrowType(env, "expected maxQueuedBytes, a number of bytes");
    return static_cast<size_t>(bytes);
  }

  static void HandleClosed(void* writers) { static_cast<Writers*>(writers)->HandleClosed(); }

  static void Writable(void* writer, bool broken) { static_cast<WriterObject*>(writer)->OnWritable(broken); }

  Napi::Value QueuedBytes(const Napi::CallbackInfo& info) {
    return Napi::Number::New(info.Env(), static_cast<double>(writer_.queued_bytes()));
  }

  Napi::Value Write(const Napi::CallbackInfo& info) {
    const Napi::Env env = info.Env();
    uint32_t count = 0;
    if (napi_get_array_length(env, info[0], &count) != napi_ok) {
      ThrowType(env, "expected an array of Uint8Arrays");
      return env.Undefined();
    }
    // First all the elements, since a getter among them may run; then where they lie.
    std::vector<napi_value> values(count);
    for (uint32_t i = 0; i < count; i++) {
      if (napi_get_element(env, info[0], i, &values[i]) != napi_ok) return env.Undefined();
    }
    std::vector<struct iovec> pieces(count);
    for (uint32_t i = 0; i < count; i++) {
      Bytes bytes;
      if (!BytesOf(env, values[i], &bytes)) {
        ThrowType(env, "expected an array of Uint8Arrays");
        return env.Undefined();
      }
      pieces[i] = {const_cast<uint8_t*>(bytes.data), bytes.size};
    }
    Succeeded(env, WritePieces(pieces.data(), count));
    return Napi::Number::New(env, static_cast<double>(writer_.queued_bytes()));
  }

  Napi::Value End(const Napi::CallbackInfo& info) {
    const bool had_ended = writer_.ended();
    SystemResult result = Settled(writer_.End());
    // No callback comes out of a call of the caller's own: this one waits for the loop, by way of a watch.
    if (result.ok() && writer_.ended() && !had_ended) result = WatchOnce();
    Succeeded(info.Env(), result);
    return info.Env().Undefined();
  }

  Napi::Value Destroy(const Napi::CallbackInfo& info) {
    Release();
    return info.Env().Undefined();
  }

  Napi::Value Ref(const Napi::CallbackInfo& info) {
    watcher_.KeepAlive(true);
    return info.This();
  }

  Napi::Value Unref(const Napi::CallbackInfo& info) {
    watcher_.KeepAlive(false);
    return info.This();
  }

  // What is queued keeps the object from being collected, and is watched for.
  SystemResult Watch() { return writer_.wants_writable() ? WatchOnce() : SystemResult{}; }

  SystemResult WatchOnce() {
    if (is_watching_) return {};
    const int error = watcher_.Start(writers_->loop, writer_.descriptor(), Writable, this);
    if (error != 0) {
      Release();
      return {error, "uv_poll_start"};
    }
    is_watching_ = true;
    Napi::ObjectWrap<WriterObject>::Ref();
    return {};
  }

  // The opposite: nothing waits any more.
  void Rest() {
    if (!is_watching_) return;
    is_watching_ = false;
    watcher_.Stop();
    Napi::ObjectWrap<WriterObject>::Unref();
  }

  // A broken writer has nothing to wait for.
  SystemResult Settled(SystemResult result) {
    if (writer_.broken()) Rest();
    return result;
  }

  void OnWritable(bool broken) {
    const Napi::Env env = Env();
    const Napi::HandleScope scope(env);
    // Keeps it through the callback, whatever becomes of the reference.
    const Napi::Object self = Value();
    bool has_options = false;
    if (napi_has_named_property(env, self, "options", &has_options) != napi_ok) return Release();
    SystemResult result = writer_.Drain();
    // libuv has stopped to watch; if the kernel has no name for what is wrong, the peer is gone all the same.
    if (broken && result.ok() && writer_.wants_writable()) result = {ECONNRESET, "poll"};
    if (result.ok() && writer_.wants_writable()) return;
    Rest();
    if (!result.ok()) {
      const Napi::Error error = SystemError(env, result);
      Release();
      Call(self, "onFailed", error.Value());
    } else if (writer_.ended()) {
      Call(self, "onClosed", env.Undefined());
    } else {
      Call(self, "onDrained", env.Undefined());
    }
  }

  // An exception of the callback's is an uncaught one of the program's.
  void Call(Napi::Object self, const char* name, napi_value argument) {
    const Napi::Env env = self.Env();
    const Napi::Value options = self.Get("options");
    const Napi::Value callback = env.IsExceptionPending() ? env.Undefined() : options.As<Napi::Object>().Get(name);
    napi_status status = napi_ok;
    if (callback.IsFunction()) {
      napi_value result;
      status = napi_make_callback(env, writers_->async_context, self, callback, 1, &argument, &result);
    }
    if (status == napi_ok && !env.IsExceptionPending()) return;
    napi_value exception;
    if (napi_get_and_clear_last_exception(env, &exception) == napi_ok) napi_fatal_exception(env, exception);
  }

  void Unlist() {
    if (!is_listed_) return;
    is_listed_ = false;
    if (previous_ != nullptr) {
      previous_->next_ = next_;
    } else {
      writers_->first = next_;
    }
    if (next_ != nullptr) next_->previous_ = previous_;
    previous_ = next_ = nullptr;
  }

  SocketWriter writer_;
  WritableWatcher watcher_;
  Writers* writers_;
  WriterObject* previous_ = nullptr;
  WriterObject* next_ = nullptr;
  bool is_listed_ = false;
  bool is_watching_ = false;
};

void TearDown(napi_async_cleanup_hook_handle, void* data) {
  auto* writers = static_cast<Writers*>(data);
  writers->torn_down = true;
  while (writers->first != nullptr) writers->first->Release();
  writers->FinishTeardown();
}

// The class, where this program has a loop that may be used: not on Bun, whose uv_* functions abort when called.
void ExportWriter(Napi::Env env, Napi::Object exports) {
  const Napi::Value versions = env.Global().Get("process").As<Napi::Object>().Get("versions");
  if (versions.As<Napi::Object>().Has("bun") || !WritableWatcher::available()) return;
  auto* writers = new Writers;
  napi_value name = Napi::String::New(env, "upstreamproxy:SocketWriter");
  const bool made = napi_get_uv_event_loop(env, reinterpret_cast<struct uv_loop_s**>(&writers->loop)) == napi_ok &&
                    napi_async_init(env, nullptr, name, &writers->async_context) == napi_ok &&
                    napi_add_async_cleanup_hook(env, TearDown, writers, &writers->hook) == napi_ok;
  if (!made) {
    delete writers;
    return;
  }
  exports.Set("SocketWriter", WriterObject::Define(env, writers));
}

// ── framing ──

Napi::Value EncodeFrameInto(const Napi::CallbackInfo& info) {
  const napi_env env = info.Env();
  Bytes arena;
  int64_t start, bytes, key;
  if (!BytesOf(env, info[0], &arena) || napi_get_value_int64(env, info[1], &start) != napi_ok ||
      napi_get_value_int64(env, info[2], &bytes) != napi_ok || napi_get_value_int64(env, info[3], &key) != napi_ok) {
    ThrowType(info.Env(), "expected a Uint8Array and three numbers");
    return info.Env().Undefined();
  }
  const auto size = static_cast<int64_t>(arena.size);
  const bool fits = bytes >= 0 && bytes <= static_cast<int64_t>(kMaxChunkBytes) && start <= size && bytes <= size - start &&
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
  explicit WriterSink(WriterObject* writer) : writer_(writer) {}

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
    if (count_ > 0 && result_.ok()) result_ = writer_->WritePieces(pieces_, count_);
    count_ = 0;
    small_bytes_ = 0;
  }

  WriterObject* writer_;
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
        {InstanceMethod<&DecoderObject::Push>("push"), InstanceMethod<&DecoderObject::TakePayload>("takePayload"),
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
      const Napi::Value cap = info[0].As<Napi::Object>().Get("maxMessageBytes");
      if (env.IsExceptionPending()) return 0;
      uint64_t bytes;
      if (CapIn(cap, &bytes)) return bytes;
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
    WriterObject* writer = WriterObject::Of(info[1].As<Napi::Object>());
    if (writer == nullptr) return PushToForeign(env, bytes, info[1].As<Napi::Object>());
    WriterSink sink(writer);
    unsigned events = decoder_.Push(bytes, &sink);
    if (!Succeeded(env, sink.Finish())) return env.Undefined();
    if (writer->queued_bytes() > 0) events |= kEventQueued;
    return Napi::Number::New(env, events);
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
      ThrowType(env, "expected a SocketWriter");
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
  auto* constructor = new Napi::FunctionReference(Napi::Persistent(DecoderObject::Define(env)));
  env.SetInstanceData<Napi::FunctionReference>(constructor);
  Napi::Object framing = Napi::Object::New(env);
  framing.Set("encodeFrameInto", Napi::Function::New<EncodeFrameInto>(env, "encodeFrameInto"));
  framing.Set("createDecoder", Napi::Function::New<CreateDecoder>(env, "createDecoder", constructor));
  return framing;
}

Napi::Object Init(Napi::Env env, Napi::Object exports) {
  exports.Set("version", Napi::String::New(env, kInterfaceVersion));
  exports.Set("process", ProcessExports(env));
  exports.Set("framing", FramingExports(env));
  ExportWriter(env, exports);
  return exports;
}

NODE_API_MODULE(upstreamproxy, Init)

}  // namespace
}  // namespace upstreamproxy
