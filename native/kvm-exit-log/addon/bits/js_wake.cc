// SPDX-License-Identifier: Apache-2.0
#include "bits/js_wake.h"

namespace exitlog {

JsWake* JsWake::start(Napi::Env env, std::function<void()> woken, std::function<void()> tornDown) {
  uv_loop_t* loop = nullptr;
  if (napi_get_uv_event_loop(env, &loop) != napi_ok) {
    throw Napi::Error::New(env, "this environment has no event loop");
  }
  auto* wake = new JsWake(std::move(woken), std::move(tornDown));
  if (uv_async_init(loop, &wake->async_, onAsync) != 0) {
    delete wake;
    throw Napi::Error::New(env, "the event loop takes no handle");
  }
  wake->async_.data = wake;
  napi_add_async_cleanup_hook(env, onTeardown, wake, &wake->hook_);
  return wake;
}

void JsWake::stop() {
  if (isStopped_) return;
  isStopped_ = true;
  uv_close(reinterpret_cast<uv_handle_t*>(&async_), onClosed);
}

void JsWake::onAsync(uv_async_t* async) {
  auto* wake = static_cast<JsWake*>(async->data);
  if (!wake->isStopped_) wake->woken_();
}

void JsWake::onClosed(uv_handle_t* handle) {
  auto* wake = static_cast<JsWake*>(handle->data);
  napi_remove_async_cleanup_hook(wake->hook_);
  delete wake;
}

void JsWake::onTeardown(napi_async_cleanup_hook_handle, void* self) {
  auto* wake = static_cast<JsWake*>(self);
  if (!wake->isStopped_) wake->tornDown_();
}

}  // namespace exitlog
