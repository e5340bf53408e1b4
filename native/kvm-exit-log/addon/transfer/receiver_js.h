// SPDX-License-Identifier: Apache-2.0
// Takes the STATE frames that come over a link: the event loop copies them, a thread of the
// pool verifies and writes them, in their order.
//
// Memory: kWaitingBytesMax of frames that wait, and one. Above, the link is not read.
#pragma once

#include <napi.h>

#include <atomic>
#include <memory>
#include <optional>
#include <vector>

#include "bits/js_callback.h"
#include "link/link_js.h"
#include "transfer/file_writer.h"
#include "transfer/pool_work.h"

namespace exitlog {

// The native half of state.ts's StateReceiver. new StateReceiver(link, callback): the
// callback gets ('begins', part) before the first byte of that part is written, ('done') or
// ('failed', code, message, part of a write that failed), and at last ('closed'): from then
// on nothing is written.
class JsStateReceiver final : public Napi::ObjectWrap<JsStateReceiver>, public Taker {
 public:
  static Napi::Function define(Napi::Env env);
  explicit JsStateReceiver(const Napi::CallbackInfo& info);
  ~JsStateReceiver() override { release(); }

 private:
  static constexpr size_t kWaitingBytesMax = 4u << 20;
  using Frame = std::vector<uint8_t>;
  // What is on its way through the pool, at most one.
  struct Round {
    std::shared_ptr<FileWriter> writer;
    std::vector<Frame> frames;
    size_t next = 0;       // of them
    bool isTaken = false;  // the next one, whose part was shut
    bool waits = false;    // for its part to be opened
  };
  using RoundPtr = std::unique_ptr<Round>;
  // Shared with the work in the pool.
  struct Self {
    explicit Self(JsStateReceiver* of) : receiver(of) {}
    JsStateReceiver* receiver;  // null: we are gone
    std::atomic<bool> isOver{false};
  };

  bool mayTake() const override { return waitingBytes_ < kWaitingBytesMax; }
  void take(const uint8_t* frame, size_t length) override;
  void linkGone() override;
  static void write(Round& round, const Self& self);
  void start(RoundPtr round);
  void next();
  void wasWritten(RoundPtr round, const Failure& failure);
  void fail(const char* code, const std::string& message);
  void abandon();
  void release();

  void add(const Napi::CallbackInfo& info);
  void end(const Napi::CallbackInfo& info);
  Napi::Value pressed(const Napi::CallbackInfo& info);
  void close(const Napi::CallbackInfo& info);

  std::shared_ptr<Self> self_;
  JsLink* link_;  // null: over
  Napi::ObjectReference linkObject_;
  JsCallback callback_;
  std::shared_ptr<FileWriter> writer_;  // null: over, or failed
  bool isWriting_ = false;
  bool isClosing_ = false;
  std::vector<Frame> waiting_;
  size_t waitingBytes_ = 0;  // those of the round included
  std::vector<FileWriter::Target> added_;  // while a round is on its way
  std::optional<uint64_t> pieces_;         // all have come
};

}  // namespace exitlog
