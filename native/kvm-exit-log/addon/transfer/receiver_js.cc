// SPDX-License-Identifier: Apache-2.0
#include "transfer/receiver_js.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <utility>

namespace exitlog {

Napi::Function JsStateReceiver::define(Napi::Env env) {
  return DefineClass(env, "StateReceiver",
                     {InstanceMethod<&JsStateReceiver::add>("add"),
                      InstanceMethod<&JsStateReceiver::end>("end"),
                      InstanceMethod<&JsStateReceiver::pressed>("pressed"),
                      InstanceMethod<&JsStateReceiver::close>("close")});
}

JsStateReceiver::JsStateReceiver(const Napi::CallbackInfo& info)
    : Napi::ObjectWrap<JsStateReceiver>(info), self_(std::make_shared<Self>(this)),
      link_(nullptr), writer_(std::make_shared<FileWriter>()) {
  JsLink* link = JsLink::unwrap(info, info[0]);
  if (!info[1].IsFunction()) badType(info, "callback", "a function");
  guard(info.Env(), [&] { link->takeBy(this); });
  link_ = link;
  linkObject_ = Napi::Persistent(link->Value());
  callback_ = JsCallback(info[1].As<Napi::Function>(), info.This().As<Napi::Object>(),
                         "understudy:StateReceiver");
}

// What waits is not written any more; a frame that is being written is.
void JsStateReceiver::abandon() {
  self_->isOver = true;
  writer_.reset();
  waiting_.clear();
  waitingBytes_ = 0;
  for (const FileWriter::Target& target : std::exchange(added_, {})) ::close(target.fd);
}

// Idempotent.
void JsStateReceiver::release() {
  abandon();
  self_->receiver = nullptr;
  if (link_ != nullptr) link_->takeBy(nullptr);
  link_ = nullptr;
  linkObject_.Reset();
  callback_.reset();
}

// What has come is written, and what is missing is found at the end.
void JsStateReceiver::linkGone() { link_ = nullptr; }

// add(fd, bytes, isWhole): the next part; the descriptor is copied
void JsStateReceiver::add(const Napi::CallbackInfo& info) {
  const auto fd = static_cast<int>(argInteger(info, info[0], "fd", 0, INT32_MAX));
  const uint64_t bytes = argInteger(info, info[1], "bytes", 0, 1ull << 53);
  if (!info[2].IsBoolean()) badType(info, "isWhole", "a boolean");
  const bool isWhole = info[2].As<Napi::Boolean>().Value();
  guard(info.Env(), [&] {
    if (!writer_) throw RingError("ERR_RING_STATE", "nothing is received any more");
    const int own = fcntl(fd, F_DUPFD_CLOEXEC, 3);
    if (own < 0) throw std::system_error(errno, std::generic_category(), "dup");
    added_.push_back({own, bytes, isWhole ? Intake::Covers::whole : Intake::Covers::some});
  });
}

// After a failure what comes is thrown away: who was told closes the link.
void JsStateReceiver::take(const uint8_t* frame, size_t length) {
  if (!writer_) return;
  waiting_.emplace_back(frame, frame + length);
  waitingBytes_ += length;
  next();
}

// On a thread of the pool.
void JsStateReceiver::write(Round& round, const Self& self) {
  for (; round.next < round.frames.size() && !self.isOver; round.next++) {
    const Frame& frame = round.frames[round.next];
    const bool again = std::exchange(round.isTaken, false);
    if (round.writer->write(again ? nullptr : frame.data(), frame.size()) ==
        FileWriter::Step::shut) {
      round.isTaken = round.waits = true;
      return;
    }
  }
}

void JsStateReceiver::start(RoundPtr round) {
  isWriting_ = true;
  Round* on = round.get();
  inPool(
      Env(), "understudy:writeState", [on, self = self_] { write(*on, *self); },
      [self = self_, round = std::move(round)](const Failure& failure) mutable {
        if (self->receiver != nullptr) self->receiver->wasWritten(std::move(round), failure);
      });
}

void JsStateReceiver::next() {
  if (isWriting_ || !writer_) return;
  for (const FileWriter::Target& target : std::exchange(added_, {})) writer_->add(target);
  if (!waiting_.empty()) {
    auto round = std::make_unique<Round>();
    round->writer = writer_;
    round->frames = std::exchange(waiting_, {});
    start(std::move(round));
    return;
  }
  if (!pieces_) return;
  try {
    writer_->end(*pieces_);
  } catch (const PeerError& error) {
    fail(error.code, error.what());
    return;
  }
  pieces_.reset();
  callback_.call({Napi::String::New(Env(), "done")});
}

// A callback may close us.
void JsStateReceiver::wasWritten(RoundPtr round, const Failure& failure) {
  [[maybe_unused]] const Napi::Object alive = Value();
  isWriting_ = false;
  if (isClosing_) {
    round.reset();
    callback_.call({Napi::String::New(Env(), "closed")});
    release();
    return;
  }
  if (!writer_) return;
  if (failure.code != nullptr) {
    fail(failure.code, failure.message);
    return;
  }
  if (std::exchange(round->waits, false)) {
    const uint32_t part = round->writer->waits();
    callback_.call({Napi::String::New(Env(), "begins"), Napi::Number::New(Env(), part)});
    if (!writer_) return;
    writer_->open(part);
    start(std::move(round));
    return;
  }
  for (const Frame& frame : round->frames) waitingBytes_ -= frame.size();
  next();
  if (link_ != nullptr) link_->goOn();
}

void JsStateReceiver::fail(const char* code, const std::string& message) {
  const Napi::Env env = Env();
  const uint32_t part = writer_->waits();
  abandon();
  callback_.call({Napi::String::New(env, "failed"), Napi::String::New(env, code),
                  Napi::String::New(env, message), Napi::Number::New(env, part)});
  // What the link had read already would wait for the peer's next bytes.
  if (link_ != nullptr) link_->goOn();
}

// end(pieces): so many were sent; 'done' or 'failed' follows
void JsStateReceiver::end(const Napi::CallbackInfo& info) {
  pieces_ = argU64(info, info[0], "pieces");
  next();
}

// pressed(): the peer has to wait
Napi::Value JsStateReceiver::pressed(const Napi::CallbackInfo& info) {
  return Napi::Boolean::New(info.Env(), !mayTake());
}

void JsStateReceiver::close(const Napi::CallbackInfo& info) {
  if (isClosing_) return;
  isClosing_ = true;
  abandon();
  if (link_ != nullptr) link_->takeBy(nullptr);
  link_ = nullptr;
  if (isWriting_) return;
  callback_.call({Napi::String::New(info.Env(), "closed")});
  release();
}

}  // namespace exitlog
