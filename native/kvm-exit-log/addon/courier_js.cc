// SPDX-License-Identifier: Apache-2.0
#include "courier_js.h"

#include <fcntl.h>

#include <climits>
#include <utility>

#include "bits/args.h"
#include "image_js.h"
#include "options.h"
#include "ring/exit_ring.h"

namespace exitlog {

namespace {

constexpr uint64_t kLimitMsMax = 10000000;
// For a system call in progress.
constexpr uint64_t kStopNs = 1000000000;

int dupFd(int fd) {
  const int copy = fcntl(fd, F_DUPFD_CLOEXEC, 3);
  if (copy < 0) throw std::system_error(errno, std::generic_category(), "dup");
  return copy;
}

std::unique_ptr<Segment> argLog(const Napi::CallbackInfo& info, const Napi::Value& value) {
  if (value.IsNull()) return nullptr;
  const Options log(info, value, "log");
  const Bytes header = log.bytes("header");
  SegmentStart start{-1,
                     log.string("dir"),
                     log.integer("index"),
                     log.integer("offset"),
                     log.integer("bytesMax"),
                     {header.data, header.data + header.length}};
  const int fd = static_cast<int>(log.integer("fd", INT32_MAX));
  auto segment = std::make_unique<Segment>(std::move(start));
  segment->adopt(dupFd(fd));
  return segment;
}

}  // namespace

namespace {
template <size_t Count>
Napi::Array namesOf(Napi::Env env, const char* const (&names)[Count]) {
  Napi::Array array = Napi::Array::New(env, Count);
  for (uint32_t i = 0; i < Count; i++) array.Set(i, Napi::String::New(env, names[i]));
  return array;
}
}  // namespace

Napi::Object JsCourier::words(Napi::Env env) {
  Napi::Object words = Napi::Object::New(env);
  words.Set("facts", namesOf(env, kFactNames));
  words.Set("events", namesOf(env, kEventNames));
  words.Set("commands", namesOf(env, kCommandNames));
  return words;
}

Napi::Function JsCourier::define(Napi::Env env) {
  return DefineClass(env, "Courier",
                     {InstanceMethod<&JsCourier::attach>("attach"),
                      InstanceMethod<&JsCourier::ship>("ship"),
                      InstanceMethod<&JsCourier::receive>("receive"),
                      InstanceMethod<&JsCourier::handOver>("handOver"),
                      InstanceMethod<&JsCourier::keepState>("keepState"),
                      InstanceMethod<&JsCourier::watch>("watch"),
                      InstanceMethod<&JsCourier::lastWords>("lastWords"),
                      InstanceMethod<&JsCourier::command>("command"),
                      InstanceMethod<&JsCourier::detach>("detach"),
                      InstanceMethod<&JsCourier::protect>("protect"),
                      InstanceMethod<&JsCourier::facts>("facts"),
                      InstanceMethod<&JsCourier::close>("close"),
                      InstanceMethod<&JsCourier::destroy>("destroy")});
}

JsCourier::JsCourier(const Napi::CallbackInfo& info) : Napi::ObjectWrap<JsCourier>(info) {
  ExitRing* ring = ExitRing::unwrap(info, info[0]);
  if (!info[1].IsFunction()) badType(info, "callback", "a function");
  const uint64_t progressUs = argInteger(info, info[2], "progressUs", 0, 1000000000);
  guard(info.Env(), [&] {
    core_ = ring->takeForCourier(info);
    ring_ = Napi::Persistent(info[0].As<Napi::Object>());
    wake_ = JsWake::start(info.Env(), [this] { deliver(); }, [this] { release(); });
    callback_ = JsCallback(info[1].As<Napi::Function>(), info.This().As<Napi::Object>(),
                           "understudy:Courier");
    JsWake* wake = wake_;
    try {
      courier_ = std::make_unique<Courier>(core_, [wake] { wake->send(); }, progressUs * 1000);
    } catch (...) {
      release();
      throw;
    }
    core_->stopCourier = [this] { release(); };
  });
}

JsCourier::~JsCourier() { release(); }

void JsCourier::release() {
  carry(nullptr);
  // A thread that never comes back from its disk keeps its courier, and not us.
  if (courier_ && !courier_->stop(kStopNs)) static_cast<void>(courier_.release());
  courier_.reset();
  if (core_) core_->stopCourier = nullptr;
  core_.reset();
  ring_.Reset();
  callback_.reset();
  if (wake_ != nullptr) std::exchange(wake_, nullptr)->stop();
}

void JsCourier::deliver() {
  const Napi::Env env = Env();
  // cppcheck-suppress nullPointerRedundantCheck
  for (Event& event : courier_->takeEvents()) {
    // A callback may have destroyed us.
    if (!courier_) return;
    Napi::HandleScope scope(env);
    if (!event.isOfLink()) callback_.tell(event);
    else if (event.link == links_) carried_->tell(event);
  }
}

Courier& JsCourier::live(const Napi::CallbackInfo& info) const {
  if (!courier_) {
    throw withCode(info.Env(), Napi::Error::New(info.Env(), "the courier is destroyed"),
                   "ERR_RING_DESTROYED");
  }
  return *courier_;
}

namespace {
void once(bool& done, const char* what) {
  if (done) throw RingError("ERR_RING_STATE", format("the courier has a %s already", what));
}
}  // namespace

void JsCourier::carry(JsLink* link) {
  if (carried_ != nullptr) carried_->forsaken();
  carried_ = link;
  if (link == nullptr) carriedObject_.Reset();
  else carriedObject_ = Napi::Persistent(link->Value());
}

// attach(link, from?)
void JsCourier::attach(const Napi::CallbackInfo& info) {
  Courier& courier = live(info);
  guard(info.Env(), [&] {
    JsLink* link = JsLink::unwrap(info, info[0]);
    ShipFrom from{};
    const bool catchesUp = !info[1].IsUndefined();
    if (catchesUp) from = shipFrom(Options(info, info[1], "from"));
    std::unique_ptr<Link> moved = link->take();
    try {
      courier.attach(moved, catchesUp ? &from : nullptr);
    } catch (...) {
      link->giveBack(std::move(moved));
      throw;
    }
    link->carriedBy(courier);
    carry(link);
    links_++;
  });
}

void JsCourier::ship(const Napi::CallbackInfo& info) {
  Courier& courier = live(info);
  guard(info.Env(), [&] {
    const Options given(info, info[0], "options");
    const ShipOptions options = shipOptions(info, given);
    const bool continues = given.get("log").IsString() && given.string("log") == "received";
    auto log = continues ? nullptr : argLog(info, given.get("log"));
    once(ships_, "log to ship");
    if (continues) courier.shipOn(options);
    else courier.ship(options, std::move(log));
    ships_ = true;
  });
}

void JsCourier::receive(const Napi::CallbackInfo& info) {
  Courier& courier = live(info);
  guard(info.Env(), [&] {
    const Options given(info, info[0], "options");
    ReceiveOptions options = receiveOptions(info, given);
    const Napi::Value image = given.get("image");
    if (!image.IsUndefined()) options.image = JsImage::unwrap(info, image);
    auto log = argLog(info, given.get("log"));
    once(receives_, "log to receive");
    courier.receive(options, std::move(log));
    receives_ = true;
  });
}

// handOver(fd): the image it has received goes to the QEMU that waits
void JsCourier::handOver(const Napi::CallbackInfo& info) {
  Courier& courier = live(info);
  const auto fd = static_cast<int>(argInteger(info, info[0], "fd", 0, INT_MAX));
  guard(info.Env(), [&] { courier.handOver(fd); });
}

// keepState(dir): of the next image, for the backup that comes next
void JsCourier::keepState(const Napi::CallbackInfo& info) {
  Courier& courier = live(info);
  const std::string dir = argString(info, 0, "dir");
  guard(info.Env(), [&] { courier.keepState(dir); });
}

// watch({diskMs, courierMs, ackMs})
void JsCourier::watch(const Napi::CallbackInfo& info) {
  Courier& courier = live(info);
  const Options given(info, info[0], "limits");
  const auto ns = [&given](const char* key) { return given.integer(key, kLimitMsMax) * 1000000; };
  courier.watch(Limits{ns("diskMs"), ns("courierMs"), ns("ackMs")});
}

// lastWords(ofDisk, ofCourier, ofControl): frames, for the peer that is attached
void JsCourier::lastWords(const Napi::CallbackInfo& info) {
  Courier& courier = live(info);
  const auto words = [&info](size_t index, const char* name) {
    const Bytes bytes = argBytes(info, info[index], name);
    return std::vector<uint8_t>(bytes.data, bytes.data + bytes.length);
  };
  courier.lastWords({words(0, "ofDisk"), words(1, "ofCourier"), words(2, "ofControl")});
}

// command(number): its place in EXITLOG_COMMANDS
void JsCourier::command(const Napi::CallbackInfo& info) {
  Courier& courier = live(info);
  courier.command(static_cast<Courier::Command>(argInteger(info, info[0], "command", 0, kCommands - 1)));
}

// detach(term)
void JsCourier::detach(const Napi::CallbackInfo& info) {
  Courier& courier = live(info);
  const uint64_t term = argInteger(info, info[0], "term", 0, UINT32_MAX);
  guard(info.Env(), [&] { courier.detach(static_cast<uint32_t>(term)); });
}

void JsCourier::protect(const Napi::CallbackInfo& info) {
  Courier& courier = live(info);
  guard(info.Env(), [&] { courier.protect(); });
}

// facts(into): a BigUint64Array of kFacts words; stays as it is after destroy
void JsCourier::facts(const Napi::CallbackInfo& info) {
  uint64_t* into = argWords(info, info[0], "into", kFacts);
  if (!courier_) return;
  const Facts facts = courier_->facts();
  memcpy(into, &facts, sizeof facts);
}

void JsCourier::close(const Napi::CallbackInfo& info) { live(info).close(); }
void JsCourier::destroy(const Napi::CallbackInfo&) { release(); }

}  // namespace exitlog
