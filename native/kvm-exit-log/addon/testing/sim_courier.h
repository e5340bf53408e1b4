// SPDX-License-Identifier: Apache-2.0
// A courier without thread, files and socket, for simulations: shipper, gate and receiver
// are the product's, and what its thread would do next is asked for step by step, at a
// time that the simulation gives.
#pragma once

#include <napi.h>

#include <memory>

#include "receive/receive.h"
#include "ring/core.h"
#include "ship/ship.h"
#include "testing/memory_log.h"

namespace exitlog {

// The native half of testing.ts's SimCourier. new SimCourier(ring)
class SimCourier : public Napi::ObjectWrap<SimCourier> {
 public:
  static Napi::Function define(Napi::Env env);
  explicit SimCourier(const Napi::CallbackInfo& info);

 private:
  void atTime(const Napi::CallbackInfo& info);
  void ship(const Napi::CallbackInfo& info);
  void receive(const Napi::CallbackInfo& info);
  void attach(const Napi::CallbackInfo& info);
  void leave(const Napi::CallbackInfo& info);
  Napi::Value take(const Napi::CallbackInfo& info);
  Napi::Value stepReceiver(const Napi::CallbackInfo& info);
  Napi::Value stepShipper(const Napi::CallbackInfo& info);
  Napi::Value unwritten(const Napi::CallbackInfo& info);
  void written(const Napi::CallbackInfo& info);
  Napi::Value sent(const Napi::CallbackInfo& info);
  Napi::Value events(const Napi::CallbackInfo& info);
  void command(const Napi::CallbackInfo& info);
  void detach(const Napi::CallbackInfo& info);
  void protect(const Napi::CallbackInfo& info);
  Napi::Value facts(const Napi::CallbackInfo& info);
  void destroy(const Napi::CallbackInfo& info);

  std::shared_ptr<RingCore> core_;
  VirtualClock clock_;
  Events events_{[] {}};
  std::unique_ptr<Shipper> shipper_;
  std::unique_ptr<Receiver> receiver_;
  MemoryOutlet outlet_;
  bool hasOutlet_ = false;
  Peer* peer_ = nullptr;
  // The frames of a round, which the receiver points into.
  std::vector<std::vector<uint8_t>> round_;
};

}  // namespace exitlog
