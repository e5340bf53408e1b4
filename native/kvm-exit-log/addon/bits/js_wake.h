// SPDX-License-Identifier: Apache-2.0
// Wakes the event loop of an environment from any thread.
#pragma once

#include <napi.h>
#include <uv.h>

#include <functional>

namespace exitlog {

class JsWake {
 public:
  // Both are called by the event loop, and may `stop`. `tornDown`: the environment ends.
  // Throws Napi::Error.
  static JsWake* start(Napi::Env env, std::function<void()> woken, std::function<void()> tornDown);
  // Any thread, until `stop`.
  void send() { uv_async_send(&async_); }
  // Nothing is called any more. It frees itself once the loop has let it go.
  void stop();

 private:
  JsWake(std::function<void()> woken, std::function<void()> tornDown)
      : woken_(std::move(woken)), tornDown_(std::move(tornDown)) {}
  static void onAsync(uv_async_t* async);
  static void onClosed(uv_handle_t* handle);
  static void onTeardown(napi_async_cleanup_hook_handle handle, void* self);

  uv_async_t async_{};
  bool isStopped_ = false;
  std::function<void()> woken_;
  std::function<void()> tornDown_;
  napi_async_cleanup_hook_handle hook_ = nullptr;
};

}  // namespace exitlog
