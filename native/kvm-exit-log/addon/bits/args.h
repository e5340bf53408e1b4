// SPDX-License-Identifier: Apache-2.0
// The module border: arguments are checked before any work, and what goes wrong
// inside becomes an Error, TypeError or RangeError with a stable `code`.
#pragma once

#include <napi.h>

#include <cerrno>
#include <cstring>
#include <string>
#include <system_error>
#include <vector>

#include "bits/errors.h"
#include "bits/frame.h"
#include "bits/peer_error.h"

namespace exitlog {

inline Napi::Error withCode(Napi::Env env, Napi::Error error, const char* code) {
  error.Set("code", Napi::String::New(env, code));
  return error;
}

inline const char* errnoName(int error) {
  const char* name = strerrorname_np(error);
  return name == nullptr ? "EIO" : name;
}

template <class Work>
auto guard(Napi::Env env, Work work) -> decltype(work()) {
  try {
    return work();
  } catch (const VersionError& error) {
    throw withCode(env, Napi::Error::New(env, error.what()), "ERR_LOG_VERSION");
  } catch (const CorruptError& error) {
    throw withCode(env, Napi::Error::New(env, error.what()), "ERR_LOG_CORRUPT");
  } catch (const PeerError& error) {
    throw withCode(env, Napi::Error::New(env, error.what()), error.code);
  } catch (const RangeFault& error) {
    throw withCode(env, Napi::RangeError::New(env, error.what()), "ERR_OUT_OF_RANGE");
  } catch (const RingError& error) {
    throw withCode(env, Napi::Error::New(env, error.what()), error.code);
  } catch (const std::system_error& error) {
    throw withCode(env, Napi::Error::New(env, error.what()), errnoName(error.code().value()));
  } catch (const std::bad_alloc&) {
    throw withCode(env, Napi::Error::New(env, "out of memory"), "ENOMEM");
  }
}

[[noreturn]] inline void badType(const Napi::CallbackInfo& info, const char* name,
                                 const char* wanted) {
  throw withCode(info.Env(),
                 Napi::TypeError::New(info.Env(), format("`%s` must be %s", name, wanted)),
                 "ERR_INVALID_ARG_TYPE");
}

[[noreturn]] inline void badRange(const Napi::CallbackInfo& info, const char* name,
                                  const char* wanted) {
  throw withCode(info.Env(),
                 Napi::RangeError::New(info.Env(), format("`%s` must be %s", name, wanted)),
                 "ERR_OUT_OF_RANGE");
}

struct Bytes {
  uint8_t* data;
  size_t length;
};

inline Bytes argBytes(const Napi::CallbackInfo& info, const Napi::Value& value, const char* name) {
  if (!value.IsTypedArray() || value.As<Napi::TypedArray>().TypedArrayType() != napi_uint8_array) {
    badType(info, name, "a Buffer or Uint8Array");
  }
  auto array = value.As<Napi::Uint8Array>();
  return Bytes{array.Data(), array.ByteLength()};
}

// Room for `count` 64-bit words, to be written.
inline uint64_t* argWords(const Napi::CallbackInfo& info, const Napi::Value& value,
                          const char* name, size_t count) {
  const bool typed = value.IsTypedArray() && value.As<Napi::TypedArray>().TypedArrayType() ==
                                                 napi_biguint64_array;
  if (!typed || value.As<Napi::TypedArray>().ElementLength() != count) {
    badType(info, name, "a BigUint64Array of the right length");
  }
  return value.As<Napi::BigUint64Array>().Data();
}

// An integer from `min` to `max`, both at most 2^53.
inline uint64_t argInteger(const Napi::CallbackInfo& info, const Napi::Value& value,
                           const char* name, uint64_t min, uint64_t max) {
  if (!value.IsNumber()) badType(info, name, "a number");
  const double number = value.As<Napi::Number>().DoubleValue();
  if (!(number >= static_cast<double>(min) && number <= static_cast<double>(max)) ||
      number != static_cast<double>(static_cast<uint64_t>(number))) {
    badRange(info, name, format("an integer from %llu to %llu", static_cast<unsigned long long>(min),
                                static_cast<unsigned long long>(max)).c_str());
  }
  return static_cast<uint64_t>(number);
}

inline uint64_t argU64(const Napi::CallbackInfo& info, const Napi::Value& value,
                       const char* name) {
  if (!value.IsBigInt()) badType(info, name, "a bigint");
  bool lossless = false;
  const uint64_t number = value.As<Napi::BigInt>().Uint64Value(&lossless);
  if (!lossless) badRange(info, name, "from 0 to 2^64 - 1");
  return number;
}

inline std::vector<std::string> argStrings(const Napi::CallbackInfo& info, const Napi::Value& value,
                                           const char* name) {
  if (!value.IsArray()) badType(info, name, "an array");
  const auto given = value.As<Napi::Array>();
  std::vector<std::string> all;
  for (uint32_t i = 0; i < given.Length(); i++) {
    const Napi::Value one = given[i];
    if (!one.IsString()) badType(info, name, "an array of strings");
    all.push_back(one.As<Napi::String>().Utf8Value());
  }
  return all;
}

inline std::string argString(const Napi::CallbackInfo& info, size_t index, const char* name) {
  if (!info[index].IsString()) badType(info, name, "a string");
  std::string text = info[index].As<Napi::String>().Utf8Value();
  if (text.empty() || text.find('\0') != std::string::npos) {
    badRange(info, name, "a non-empty string without NUL");
  }
  return text;
}

// `length` bytes of a buffer from `offset`, all inside it.
inline Bytes argSlice(const Napi::CallbackInfo& info, size_t index, const char* name,
                      bool lengthGiven) {
  const Bytes all = argBytes(info, info[index], name);
  const uint64_t offset = argInteger(info, info[index + 1], "offset", 0, all.length);
  uint64_t length = all.length - offset;
  if (lengthGiven) length = argInteger(info, info[index + 2], "length", 0, length);
  return Bytes{all.data + offset, static_cast<size_t>(length)};
}

}  // namespace exitlog
