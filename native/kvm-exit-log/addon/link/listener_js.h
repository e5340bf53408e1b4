// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <napi.h>

#include <memory>

#include "bits/js_callback.h"
#include "link/watch.h"

namespace exitlog {

// The native half of link.ts's Listener. new Listener(address, port, callback): called
// when there may be somebody to `accept`.
class JsListener final : public Napi::ObjectWrap<JsListener>, public Watcher {
 public:
  static Napi::Function define(Napi::Env env);
  explicit JsListener(const Napi::CallbackInfo& info);
  ~JsListener() override { release(); }

 private:
  void ready() override;
  void alarm() override { watch_->want(true, false); }
  void tornDown() override { release(); }
  void listenOn(const Napi::CallbackInfo& info);
  void turnAway();
  void rest();
  void release();

  Napi::Value accept(const Napi::CallbackInfo& info);
  Napi::Value port(const Napi::CallbackInfo& info);
  void close(const Napi::CallbackInfo&) { release(); }

  int fd_ = -1;
  int spare_ = -1;  // so that there is always one descriptor to accept with
  JsCallback callback_;
  std::unique_ptr<Watch> watch_;
};

}  // namespace exitlog
