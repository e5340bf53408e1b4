// SPDX-License-Identifier: Apache-2.0
// QEMU's notifications, on the event loop of the environment that owns the ring.
#pragma once

#include <napi.h>
#include <uv.h>

#include "bits/js_callback.h"
#include "ring/shm.h"

namespace exitlog {

// Owns a uv_poll_t on the notify eventfd, and a timer.  Lives until stop() and the
// loop's close callbacks, or until the environment is torn down (worker.terminate()).
class Notify {
 public:
  // Throws Napi::Error. `owner` is kept alive while this polls.
  static Notify* start(Napi::Env env, const Shm& shm, Napi::Function callback,
                       Napi::Object owner, Notify** slot);
  void setCallback(Napi::Function callback, Napi::Object owner) {
    callback_ = JsCallback(callback, owner, "understudy:ExitRing");
  }
  // After this neither the shm nor the callback is touched again. Idempotent.
  void stop();

 private:
  // What a callback may have to see; compared after QEMU is asked to notify again.
  struct Seen {
    uint64_t outHead;
    uint64_t inTail;
    uint32_t horizonSeq;
    uint32_t state;
    bool isUrgentAfter(const Seen& o) const { return outHead != o.outHead || state != o.state; }
    bool isProgressAfter(const Seen& o) const {
      return inTail != o.inTail || horizonSeq != o.horizonSeq;
    }
  };

  Notify(Napi::Env env, const Shm& shm) : env_(env), shm_(&shm) {}
  static void onReady(uv_poll_t* poll, int status, int events);
  static void onTimer(uv_timer_t* timer);
  static void onClosed(uv_handle_t* handle);
  void run();
  static void onTeardown(napi_async_cleanup_hook_handle handle, void* self);
  Seen look() const;
  void call();

  napi_env env_;
  const Shm* shm_;  // null once stopped
  Notify** slot_ = nullptr;
  uv_poll_t poll_{};
  uv_timer_t timer_{};
  int open_ = 2;  // handles not yet closed
  JsCallback callback_;
  napi_async_cleanup_hook_handle hook_ = nullptr;
};

}  // namespace exitlog
