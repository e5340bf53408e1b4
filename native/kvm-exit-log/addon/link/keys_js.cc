// SPDX-License-Identifier: Apache-2.0
#include "link/keys_js.h"

#include "bits/args.h"

namespace exitlog {

namespace {

constexpr napi_type_tag kKeysTag{0x7f02c6f1a6f84b1e, 0x8c1d5b90e2a7340d};
constexpr uint64_t kRecordsMax = uint64_t{1} << 40;

std::string argText(const Napi::CallbackInfo& info, size_t index, const char* name) {
  if (!info[index].IsString()) badType(info, name, "a string");
  return info[index].As<Napi::String>().Utf8Value();
}

}  // namespace

Napi::Function JsKeys::define(Napi::Env env) {
  return DefineClass(env, "Keys",
                     {InstanceMethod<&JsKeys::names>("names"),
                      InstanceMethod<&JsKeys::endsMs>("endsMs"),
                      InstanceMethod<&JsKeys::ownFault>("ownFault")});
}

std::shared_ptr<const Keys> JsKeys::unwrap(const Napi::CallbackInfo& info,
                                           const Napi::Value& value) {
  if (!value.IsObject() || !value.As<Napi::Object>().CheckTypeTag(&kKeysTag)) {
    badType(info, "keys", "Keys");
  }
  return Napi::ObjectWrap<JsKeys>::Unwrap(value.As<Napi::Object>())->keys_;
}

JsKeys::JsKeys(const Napi::CallbackInfo& info) : Napi::ObjectWrap<JsKeys>(info) {
  KeyFiles files{argText(info, 0, "ca"), argText(info, 1, "cert"), argText(info, 2, "key"),
                 argText(info, 3, "crl")};
  const uint64_t recordsPerKey = argInteger(info, info[4], "recordsPerKey", 1, kRecordsMax);
  try {
    keys_ = std::make_shared<const Keys>(files, recordsPerKey);
  } catch (const KeyError& error) {
    throw withCode(info.Env(), Napi::Error::New(info.Env(), error.what()), "ERR_KEYS");
  }
  info.This().As<Napi::Object>().TypeTag(&kKeysTag);
}

// names(): the URIs of this side's certificate
Napi::Value JsKeys::names(const Napi::CallbackInfo& info) {
  Napi::Array all = Napi::Array::New(info.Env());
  for (const std::string& name : keys_->names()) {
    all.Set(all.Length(), Napi::String::New(info.Env(), name));
  }
  return all;
}

// endsMs(): when it expires, ms since 1970
Napi::Value JsKeys::endsMs(const Napi::CallbackInfo& info) {
  return Napi::Number::New(info.Env(), static_cast<double>(keys_->endsUnixS()) * 1000);
}

// ownFault(): why nobody of the same CA would take it; '': nothing
Napi::Value JsKeys::ownFault(const Napi::CallbackInfo& info) {
  return Napi::String::New(info.Env(), keys_->ownFault());
}

}  // namespace exitlog
