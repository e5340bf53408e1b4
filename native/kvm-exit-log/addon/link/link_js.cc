// SPDX-License-Identifier: Apache-2.0
#include "link/link_js.h"

#include <algorithm>
#include <utility>
#include <vector>

#include "bits/args.h"
#include "bits/clock.h"
#include "bits/heartbeat.h"
#include "link/keys_js.h"

namespace exitlog {

namespace {

constexpr uint64_t kNsPerMs = 1000000;
// A day and more.
constexpr uint64_t kBeatMsMax = 100000000;

constexpr napi_type_tag kLinkTag{0x4b1d0f6a2c9e4f57, 0x9a3c7be8d1520c46};

std::string connectionError(int error) {
  return std::string("connection error ") + errnoName(error);
}

}  // namespace

// What the event loop calls: a callback of it may let go of the last reference.
struct JsLink::Turn {
  explicit Turn(const JsLink& link) : scope(link.Env()), self(link.Value()) {}
  Napi::HandleScope scope;
  Napi::Object self;
};

Napi::Function JsLink::define(Napi::Env env) {
  return DefineClass(env, "Link",
                     {InstanceMethod<&JsLink::secure>("secure"),
                      InstanceMethod<&JsLink::start>("start"),
                      InstanceMethod<&JsLink::connect>("connect"),
                      InstanceMethod<&JsLink::lost>("lost"),
                      InstanceMethod<&JsLink::remote>("remote"),
                      InstanceMethod<&JsLink::send>("send"),
                      InstanceMethod<&JsLink::end>("end"),
                      InstanceMethod<&JsLink::drop>("drop"),
                      InstanceMethod<&JsLink::heardMs>("heardMs"),
                      InstanceMethod<&JsLink::beat>("beat"),
                      InstanceMethod<&JsLink::heardBeat>("heardBeat")});
}

JsLink* JsLink::unwrap(const Napi::CallbackInfo& info, const Napi::Value& value) {
  if (!value.IsObject() || !value.As<Napi::Object>().CheckTypeTag(&kLinkTag)) {
    badType(info, "link", "a Link");
  }
  return Napi::ObjectWrap<JsLink>::Unwrap(value.As<Napi::Object>());
}

JsLink::JsLink(const Napi::CallbackInfo& info)
    : Napi::ObjectWrap<JsLink>(info), link_(std::make_unique<Link>()) {
  info.This().As<Napi::Object>().TypeTag(&kLinkTag);
}

// Who makes or takes bulk frames.
void JsLink::letGo() {
  if (feeder_ != nullptr) std::exchange(feeder_, nullptr)->linkGone();
  if (taker_ != nullptr) std::exchange(taker_, nullptr)->linkGone();
}

// Idempotent.
void JsLink::release() {
  letGo();
  dial_.reset();
  watch_.reset();
  if (link_) link_->shut();
  link_.reset();
  callback_.reset();
}

// After it nothing is told any more.
void JsLink::lose(const char* code, const std::string& message) {
  const JsCallback last = std::move(callback_);
  release();
  if (last) last.tell(Event{EventKind::closed, code, message, {}, 0});
}

void JsLink::arm() {
  if (!watch_ || !link_ || !link_->isConnected()) return;
  watch_->want(mayRead(), link_->toWrite() > 0);
}

void JsLink::adopt(int fd, std::string remote) {
  link_->connect(fd);
  remote_ = std::move(remote);
}

void JsLink::connected(int fd) {
  const Turn turn(*this);
  dial_.reset();
  link_->connect(fd);
  const int error = watch_->begin(fd);
  if (error == 0) write();
  else lose(kPeerLost, connectionError(error));
}

void JsLink::unreachable(int error) {
  const Turn turn(*this);
  lose(kPeerLost, connectionError(error));
}

void JsLink::ready() {
  const Turn turn(*this);
  if (!link_->isEnding()) read();
  if (link_) write();
}

// A callback may end the link, or give it away.
bool JsLink::mayRead() const {
  return link_ && !link_->isEnding() && (taker_ == nullptr || taker_->mayTake());
}

void JsLink::takeFrames() {
  Link::Frame frame;
  while (mayRead() && link_->next(frame)) {
    if (taker_ != nullptr && frame.type == kFrameState) {
      taker_->take(frame.bytes, frame.length);
    } else {
      callback_.tell(Event{EventKind::frame, {}, {}, {frame.bytes, frame.bytes + frame.length}, 0});
    }
  }
}

void JsLink::read() {
  try {
    if (mayRead() && link_->read()) takeFrames();
  } catch (const PeerError& error) {
    lose(error.code, error.what());
  }
}

// There may be frames that have been read, and left.
void JsLink::goOn() {
  if (!mayRead()) return;
  const Turn turn(*this);
  try {
    takeFrames();
  } catch (const PeerError& error) {
    lose(error.code, error.what());
  }
  arm();
}

bool JsLink::isFree() const {
  return link_ && link_->isOpen() && !link_->isEnding() && link_->queuedBytes() == 0;
}

void JsLink::feedBy(Feeder* feeder) {
  if (feeder != nullptr && (!isOurs() || feeder_ != nullptr)) {
    throw RingError("ERR_RING_STATE", "the link is over, or carried, or sends already");
  }
  feeder_ = feeder;
}

void JsLink::takeBy(Taker* taker) {
  if (taker != nullptr && (!isOurs() || taker_ != nullptr)) {
    throw RingError("ERR_RING_STATE", "the link is over, or carried, or takes already");
  }
  taker_ = taker;
  arm();
}

void JsLink::write() {
  link_->flush();
  if (link_->drained()) callback_.tell(Event{EventKind::drained, {}, {}, {}, 0});
  if (feeder_ != nullptr && isFree()) feeder_->hasRoom();
  if (isOver()) return;
  if (link_->hasEnded()) {
    lose(kPeerLost, "the connection closed");
    return;
  }
  arm();
}

// It is ending.
void JsLink::alarm() {
  const Turn turn(*this);
  write();
  if (!link_) return;
  const uint64_t now = monotonicNs();
  watch_->setAlarm(link_->endsNs() > now ? (link_->endsNs() - now) / 1000000 + 1 : 1);
}

std::unique_ptr<Link> JsLink::take() {
  if (carrier_ != nullptr) throw RingError("ERR_RING_STATE", "a courier has this link already");
  if (!link_ || link_->isEnding()) throw RingError("ERR_RING_STATE", "the link is over");
  if (!link_->isOpen()) throw RingError("ERR_RING_STATE", "the link is not connected yet");
  if (!callback_) throw RingError("ERR_RING_STATE", "the link has not started");
  if (feeder_ != nullptr || taker_ != nullptr) {
    throw RingError("ERR_RING_STATE", "state is sent or taken over this link");
  }
  watch_->want(false, false);
  return std::move(link_);
}

void JsLink::giveBack(std::unique_ptr<Link> link) {
  link_ = std::move(link);
  arm();
}

void JsLink::carriedBy(Carrier& carrier) {
  carrier_ = &carrier;
  watch_.reset();
}

void JsLink::left() {
  watch_.reset();
  callback_.reset();
}

void JsLink::tell(const Event& event) {
  if (!callback_) return;
  if (event.kind != EventKind::closed) {
    callback_.tell(event);
    return;
  }
  const JsCallback last = std::move(callback_);
  if (carrier_ != nullptr) heardNs_ = carrier_->heardNs();
  carrier_ = nullptr;
  last.tell(event);
}

void JsLink::forsaken() {
  carrier_ = nullptr;
  callback_.reset();
}

// secure(keys, listens, peerName): TLS, with a peer that has that name
void JsLink::secure(const Napi::CallbackInfo& info) {
  std::shared_ptr<const Keys> keys = JsKeys::unwrap(info, info[0]);
  if (!info[1].IsBoolean()) badType(info, "listens", "a boolean");
  const std::string peerName = argString(info, 2, "peerName");
  guard(info.Env(), [&] {
    if (!isFresh()) throw RingError("ERR_RING_STATE", "the link has somewhere to go already");
    link_->secure(std::move(keys), info[1].As<Napi::Boolean>().Value(), peerName);
  });
}

// start(callback): events from now on
void JsLink::start(const Napi::CallbackInfo& info) {
  if (!info[0].IsFunction()) badType(info, "callback", "a function");
  guard(info.Env(), [&] {
    if (started_) throw RingError("ERR_RING_STATE", "the link has started already");
    started_ = true;
    if (!link_) return;
    watch_ = std::make_unique<Watch>(info.Env(), *this);
    const int error = link_->isConnected() ? watch_->begin(link_->fd()) : 0;
    if (error != 0) throw std::system_error(error, std::generic_category(), "uv_poll_init");
    callback_ = JsCallback(info[0].As<Napi::Function>(), info.This().As<Napi::Object>(),
                           "understudy:Link");
    arm();
  });
}

// connect(addresses, port): to the first that answers, once
void JsLink::connect(const Napi::CallbackInfo& info) {
  if (!info[0].IsArray()) badType(info, "addresses", "an array");
  const auto given = info[0].As<Napi::Array>();
  const auto port = static_cast<uint16_t>(argInteger(info, info[1], "port", 0, UINT16_MAX));
  std::vector<SocketAddress> addresses(given.Length());
  for (uint32_t i = 0; i < given.Length(); i++) {
    const Napi::Value address = given[i];
    if (!address.IsString()) badType(info, "addresses", "an array of strings");
    if (!readAddress(address.As<Napi::String>().Utf8Value(), port, addresses[i])) {
      badRange(info, "addresses", "addresses of IPv4 or IPv6");
    }
  }
  if (addresses.empty()) badRange(info, "addresses", "one address at least");
  guard(info.Env(), [&] {
    if (!link_) return;
    if (!started_ || !isFresh()) {
      throw RingError("ERR_RING_STATE", "the link has not started, or has somewhere to go");
    }
    dial_ = std::make_unique<Dial>(info.Env(), std::move(addresses), *this);
    dial_->next();
  });
}

// lost(message): there is nowhere to connect to
void JsLink::lost(const Napi::CallbackInfo& info) {
  if (link_) lose(kPeerLost, argString(info, 0, "message"));
}

// remote(): "10.0.0.1:51234", of one that was accepted
Napi::Value JsLink::remote(const Napi::CallbackInfo& info) {
  return Napi::String::New(info.Env(), remote_);
}

Napi::Value JsLink::send(const Napi::CallbackInfo& info) {
  const Bytes frame = argBytes(info, info[0], "frame");
  bool hasRoom = true;
  if (carrier_ != nullptr) {
    hasRoom = carrier_->send(frame.data, frame.length);
  } else if (link_) {
    link_->send(frame.data, frame.length);
    hasRoom = link_->hasRoom();
    arm();
  }
  return Napi::Boolean::New(info.Env(), hasRoom);
}

void JsLink::end(const Napi::CallbackInfo& info) {
  if (carrier_ != nullptr) {
    carrier_->endLink();
  } else if (watch_) {
    letGo();
    link_->end();
    // `closed` never comes before this returns.
    watch_->setAlarm(0);
  } else {
    drop(info);
  }
}

void JsLink::drop(const Napi::CallbackInfo&) {
  if (carrier_ != nullptr) carrier_->dropLink();
  carrier_ = nullptr;
  release();
}

// CLOCK_MONOTONIC of the peer's last sign of life; 0: none. Also of one that a carrier lost.
Napi::Value JsLink::heardMs(const Napi::CallbackInfo& info) {
  uint64_t heardNs = heardNs_;
  if (carrier_ != nullptr) heardNs = carrier_->heardNs();
  else if (link_ && link_->isConnected()) heardNs = link_->heardNs();
  return Napi::Number::New(info.Env(), static_cast<double>(heardNs) / 1e6);
}

// beat(frame, intervalMs, forMs): a heartbeat; true: the carrier goes on with its words
Napi::Value JsLink::beat(const Napi::CallbackInfo& info) {
  if (carrier_ == nullptr) {
    send(info);
    return Napi::Boolean::New(info.Env(), false);
  }
  const Bytes frame = argBytes(info, info[0], "frame");
  if (frame.length < sizeof(HeartbeatFrame)) badRange(info, "frame", "a heartbeat");
  const uint64_t intervalMs = argInteger(info, info[1], "intervalMs", 1, kBeatMsMax);
  const uint64_t forMs = argInteger(info, info[2], "forMs", 1, kBeatMsMax);
  carrier_->beat(frame.data, frame.length, intervalMs * kNsPerMs, forMs * kNsPerMs);
  return Napi::Boolean::New(info.Env(), true);
}

// heardBeat(): the carrier's last heartbeat of the peer, and CLOCK_REALTIME when it came, ns;
// null: none since the last call but those that were told
Napi::Value JsLink::heardBeat(const Napi::CallbackInfo& info) {
  Pulse::Heard heard;
  if (carrier_ == nullptr || !carrier_->heardBeat(heard)) return info.Env().Null();
  Napi::Array told = Napi::Array::New(info.Env(), 2);
  told.Set(0u, Napi::Buffer<uint8_t>::Copy(info.Env(), heard.frame.data(), heard.frame.size()));
  told.Set(1u, Napi::BigInt::New(info.Env(), heard.atNs));
  return told;
}

}  // namespace exitlog
