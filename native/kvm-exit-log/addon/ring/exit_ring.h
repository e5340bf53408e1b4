// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <napi.h>

#include <memory>

#include "ring/core.h"
#include "ring/notify.h"

namespace exitlog {

// The native half of index.ts's ExitRing: one QEMU process.
class ExitRing : public Napi::ObjectWrap<ExitRing> {
 public:
  static Napi::Function define(Napi::Env env);
  // new ExitRing(recordSlots, dataBytes)
  explicit ExitRing(const Napi::CallbackInfo& info);
  ~ExitRing() override;

  // The ring in an argument. Throws TypeError.
  static ExitRing* unwrap(const Napi::CallbackInfo& info, const Napi::Value& value);
  // Throws if it is destroyed, has a courier, or somebody listens already.
  std::shared_ptr<RingCore> takeForCourier(const Napi::CallbackInfo& info);
  // For testing.cc, whose work is a courier's. Throws if it is destroyed; the first one
  // too if it has a courier.
  RingCore& owned(const Napi::CallbackInfo& info) const;
  RingCore& seen(const Napi::CallbackInfo& info) const;

 private:
  // Throws if destroyed.
  const Shm& live(const Napi::CallbackInfo& info) const;
  // Throws if a courier does this now.
  void own(const Napi::CallbackInfo& info) const;
  void release();

  Napi::Value descriptors(const Napi::CallbackInfo& info);
  void onNotify(const Napi::CallbackInfo& info);
  Napi::Value fill(const Napi::CallbackInfo& info);
  void startAt(const Napi::CallbackInfo& info);
  void hear(const Napi::CallbackInfo& info);
  Napi::Value command(const Napi::CallbackInfo& info);
  void control(const Napi::CallbackInfo& info);
  void clearControl(const Napi::CallbackInfo& info);
  Napi::Value requestDiskMark(const Napi::CallbackInfo& info);
  Napi::Value requestCheckpoint(const Napi::CallbackInfo& info);
  void requestFullCheckpoint(const Napi::CallbackInfo& info);
  void setIcountMax(const Napi::CallbackInfo& info);
  Napi::Value status(const Napi::CallbackInfo& info);
  void events(const Napi::CallbackInfo& info);
  void setEpochs(const Napi::CallbackInfo& info);
  Napi::Value beginEpochs(const Napi::CallbackInfo& info);
  void place(const Napi::CallbackInfo& info);
  void setEnded(const Napi::CallbackInfo& info);
  void destroy(const Napi::CallbackInfo& info);

  std::shared_ptr<RingCore> core_;
  Notify* notify_ = nullptr;
};

}  // namespace exitlog
