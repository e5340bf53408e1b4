// SPDX-License-Identifier: Apache-2.0
#include "bits/js_callback.h"

namespace exitlog {

JsCallback::JsCallback(Napi::Function function, Napi::Object owner, const char* name)
    : function_(Napi::Persistent(function)), owner_(Napi::Persistent(owner)) {
  const Napi::Env env = function.Env();
  napi_async_init(env, owner, Napi::String::New(env, name), &context_);
}

JsCallback& JsCallback::operator=(JsCallback&& other) noexcept {
  reset();
  function_ = std::move(other.function_);
  owner_ = std::move(other.owner_);
  context_ = std::exchange(other.context_, nullptr);
  return *this;
}

void JsCallback::call(std::initializer_list<napi_value> args) const {
  const Napi::Env env = function_.Env();
  napi_value receiver;
  if (napi_get_global(env, &receiver) != napi_ok) return;
  const napi_status status = napi_make_callback(env, context_, receiver, function_.Value(),
                                                args.size(), args.begin(), nullptr);
  bool pending = false;
  if (status != napi_ok && napi_is_exception_pending(env, &pending) == napi_ok && pending) {
    napi_value error;
    if (napi_get_and_clear_last_exception(env, &error) == napi_ok) {
      napi_fatal_exception(env, error);
    }
  }
}

void JsCallback::tell(const Event& event) const {
  const Napi::Env env = function_.Env();
  call({Napi::Number::New(env, static_cast<uint32_t>(event.kind)),
        Napi::String::New(env, event.text), Napi::String::New(env, event.more),
        Napi::Buffer<uint8_t>::Copy(env, event.bytes.data(), event.bytes.size())});
}

void JsCallback::reset() {
  if (context_ != nullptr) napi_async_destroy(function_.Env(), context_);
  context_ = nullptr;
  function_.Reset();
  owner_.Reset();
}

}  // namespace exitlog
