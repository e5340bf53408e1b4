// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <napi.h>

#include <memory>

#include "bits/js_callback.h"
#include "bits/js_wake.h"
#include "courier.h"
#include "link/link_js.h"

namespace exitlog {

// The native half of courier.ts's Courier. new Courier(ring, callback, progressUs):
// the callback gets (kind, text, more, bytes) for each event that is not of the link.
class JsCourier : public Napi::ObjectWrap<JsCourier> {
 public:
  static Napi::Function define(Napi::Env env);
  // Names of facts, events and commands, each in the order of its numbers.
  static Napi::Object words(Napi::Env env);
  explicit JsCourier(const Napi::CallbackInfo& info);
  ~JsCourier() override;

 private:
  Courier& live(const Napi::CallbackInfo& info) const;
  // Joins the thread. Idempotent.
  void release();
  void deliver();
  // In place of the one before.
  void carry(JsLink* link);

  void attach(const Napi::CallbackInfo& info);
  void ship(const Napi::CallbackInfo& info);
  void receive(const Napi::CallbackInfo& info);
  void handOver(const Napi::CallbackInfo& info);
  void keepState(const Napi::CallbackInfo& info);
  void watch(const Napi::CallbackInfo& info);
  void lastWords(const Napi::CallbackInfo& info);
  void command(const Napi::CallbackInfo& info);
  void detach(const Napi::CallbackInfo& info);
  void protect(const Napi::CallbackInfo& info);
  void facts(const Napi::CallbackInfo& info);
  void close(const Napi::CallbackInfo& info);
  void destroy(const Napi::CallbackInfo& info);

  std::shared_ptr<RingCore> core_;
  // A ring that is collected ends its courier. This one is not, whoever else has it.
  Napi::ObjectReference ring_;
  std::unique_ptr<Courier> courier_;
  JsWake* wake_ = nullptr;
  JsCallback callback_;
  uint32_t links_ = 0;       // attached so far: the number of the newest
  JsLink* carried_ = nullptr;  // that one
  Napi::ObjectReference carriedObject_;
  bool ships_ = false;
  bool receives_ = false;
};

}  // namespace exitlog
