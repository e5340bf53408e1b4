// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <napi.h>

#include <memory>

#include "link/keys.h"

namespace exitlog {

// The native half of link.ts's Keys. new Keys(ca, cert, key, crl, recordsPerKey): texts of PEM
// files, crl may be ''. Throws ERR_KEYS.
class JsKeys final : public Napi::ObjectWrap<JsKeys> {
 public:
  static Napi::Function define(Napi::Env env);
  // The keys in an argument. Throws TypeError.
  static std::shared_ptr<const Keys> unwrap(const Napi::CallbackInfo& info,
                                            const Napi::Value& value);
  explicit JsKeys(const Napi::CallbackInfo& info);

 private:
  Napi::Value names(const Napi::CallbackInfo& info);
  Napi::Value endsMs(const Napi::CallbackInfo& info);
  Napi::Value ownFault(const Napi::CallbackInfo& info);

  std::shared_ptr<const Keys> keys_;
};

}  // namespace exitlog
