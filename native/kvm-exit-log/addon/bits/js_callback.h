// SPDX-License-Identifier: Apache-2.0
// A function of JavaScript that the event loop calls.
#pragma once

#include <napi.h>

#include <initializer_list>
#include <utility>

#include "bits/events.h"

namespace exitlog {

class JsCallback {
 public:
  JsCallback() = default;
  // `owner` is kept alive until `reset`; `name` is for async hooks.
  JsCallback(Napi::Function function, Napi::Object owner, const char* name);
  JsCallback(JsCallback&& other) noexcept { *this = std::move(other); }
  JsCallback& operator=(JsCallback&& other) noexcept;
  ~JsCallback() { reset(); }

  explicit operator bool() const { return !function_.IsEmpty(); }
  // What it throws is an uncaught exception. It may reset this. Within a HandleScope.
  void call(std::initializer_list<napi_value> args) const;
  // With (kind, text, more, bytes).
  void tell(const Event& event) const;
  void reset();

 private:
  Napi::FunctionReference function_;
  Napi::ObjectReference owner_;
  napi_async_context context_ = nullptr;
};

}  // namespace exitlog
