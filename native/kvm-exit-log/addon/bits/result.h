// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <napi.h>

#include <cstdint>
#include <string>

namespace exitlog {

// An object for JavaScript: u64 counters are bigint, sizes and codes are numbers.
class Result {
 public:
  explicit Result(Napi::Env env) : env_(env), object_(Napi::Object::New(env)) {}
  Result& u64(const char* key, uint64_t value) {
    object_.Set(key, Napi::BigInt::New(env_, value));
    return *this;
  }
  Result& i64(const char* key, int64_t value) {
    object_.Set(key, Napi::BigInt::New(env_, value));
    return *this;
  }
  Result& number(const char* key, double value) {
    object_.Set(key, Napi::Number::New(env_, value));
    return *this;
  }
  Result& boolean(const char* key, bool value) {
    object_.Set(key, Napi::Boolean::New(env_, value));
    return *this;
  }
  Result& text(const char* key, const std::string& value) {
    object_.Set(key, Napi::String::New(env_, value));
    return *this;
  }
  Napi::Object object() const { return object_; }

 private:
  Napi::Env env_;
  Napi::Object object_;
};

}  // namespace exitlog
