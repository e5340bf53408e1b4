// SPDX-License-Identifier: Apache-2.0
// What JavaScript gives to ship and to receive, checked.
#pragma once

#include <napi.h>

#include <string>

#include "bits/args.h"
#include "receive/receive.h"
#include "ship/ship.h"

namespace exitlog {

// Fields of an options object, each checked.
class Options {
 public:
  Options(const Napi::CallbackInfo& info, const Napi::Value& value, const char* name)
      : info_(info) {
    if (!value.IsObject()) badType(info, name, "an object");
    object_ = value.As<Napi::Object>();
  }
  Napi::Value get(const char* key) const { return object_.Get(key); }
  uint64_t integer(const char* key, uint64_t max = 1ull << 53) const {
    return argInteger(info_, get(key), key, 0, max);
  }
  uint64_t u64(const char* key) const { return argU64(info_, get(key), key); }
  bool boolean(const char* key) const {
    if (!get(key).IsBoolean()) badType(info_, key, "a boolean");
    return get(key).As<Napi::Boolean>().Value();
  }
  std::string string(const char* key) const {
    if (!get(key).IsString()) badType(info_, key, "a string");
    return get(key).As<Napi::String>().Utf8Value();
  }
  Bytes bytes(const char* key) const { return argBytes(info_, get(key), key); }
  void vmId(uint64_t& lo, uint64_t& hi) const {
    const Bytes id = bytes("vmId");
    if (id.length != 16) badRange(info_, "vmId", "16 bytes long");
    memcpy(&lo, id.data, 8);
    memcpy(&hi, id.data + 8, 8);
  }

 private:
  const Napi::CallbackInfo& info_;
  Napi::Object object_;
};

ShipOptions shipOptions(const Napi::CallbackInfo& info, const Options& given);
ReceiveOptions receiveOptions(const Napi::CallbackInfo& info, const Options& given);
ShipFrom shipFrom(const Options& given);

}  // namespace exitlog
