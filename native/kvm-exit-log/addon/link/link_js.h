// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <napi.h>

#include <memory>
#include <string>

#include "bits/js_callback.h"
#include "link/bulk.h"
#include "link/carrier.h"
#include "link/dial.h"
#include "link/link.h"
#include "link/watch.h"

namespace exitlog {

// The native half of link.ts's Link: a link that the event loop reads and writes until a
// carrier takes it. new Link(); then `connect`, or a listener's `accept`.
class JsLink final : public Napi::ObjectWrap<JsLink>, public Watcher, public Dialer {
 public:
  static Napi::Function define(Napi::Env env);
  // The link in an argument. Throws TypeError.
  static JsLink* unwrap(const Napi::CallbackInfo& info, const Napi::Value& value);
  explicit JsLink(const Napi::CallbackInfo& info);
  ~JsLink() override { release(); }

  // Neither connected nor dialing.
  bool isFresh() const { return link_ && !link_->isConnected() && !dial_; }
  // The socket of a fresh one.
  void adopt(int fd, std::string remote);

  // For who will carry it; until `carriedBy` or `giveBack` nothing is read. Throws RingError.
  std::unique_ptr<Link> take();
  void giveBack(std::unique_ptr<Link> link);
  void carriedBy(Carrier& carrier);
  // It was taken for good: nothing more is told or asked of it here.
  void left();
  // What the carrier has to tell of it.
  void tell(const Event& event);
  // The carrier is gone, or has another link: nothing more is told of this one.
  void forsaken();

  // Bulk frames, beside what JavaScript sends and is told. Null: none any more. Throw
  // RingError where the link is over, is carried, or has one already.
  void feedBy(Feeder* feeder);
  void takeBy(Taker* taker);
  // It can be sent to, and nothing waits.
  bool isFree() const;
  // A frame, or a part of one, for the peer; after the last one `arm`.
  void feed(const uint8_t* bytes, size_t count) { link_->send(bytes, count); }
  void arm();
  // The taker may take again.
  void goOn();

 private:
  struct Turn;
  void ready() override;
  void alarm() override;
  void tornDown() override { release(); }
  void connected(int fd) override;
  void unreachable(int error) override;
  void read();
  bool mayRead() const;
  void takeFrames();
  void write();
  void letGo();
  // After any call of a callback: it may have ended or dropped us.
  bool isOver() const { return link_ == nullptr; }
  // The event loop's, and not over.
  bool isOurs() const { return link_ && link_->isConnected() && !link_->isEnding() && callback_; }
  void lose(const char* code, const std::string& message);
  void release();

  void secure(const Napi::CallbackInfo& info);
  void start(const Napi::CallbackInfo& info);
  void connect(const Napi::CallbackInfo& info);
  void lost(const Napi::CallbackInfo& info);
  Napi::Value remote(const Napi::CallbackInfo& info);
  Napi::Value send(const Napi::CallbackInfo& info);
  void end(const Napi::CallbackInfo& info);
  void drop(const Napi::CallbackInfo& info);
  Napi::Value heardMs(const Napi::CallbackInfo& info);
  Napi::Value beat(const Napi::CallbackInfo& info);
  Napi::Value heardBeat(const Napi::CallbackInfo& info);

  std::unique_ptr<Link> link_;  // null: carried, or over
  Carrier* carrier_ = nullptr;
  uint64_t heardNs_ = 0;  // when a carrier told that it is closed
  Feeder* feeder_ = nullptr;
  Taker* taker_ = nullptr;
  std::string remote_;
  bool started_ = false;
  JsCallback callback_;
  std::unique_ptr<Watch> watch_;
  std::unique_ptr<Dial> dial_;
};

}  // namespace exitlog
