// SPDX-License-Identifier: Apache-2.0
// A VM's epochs taken from its ring of state into an image, by hand.
#pragma once

#include <napi.h>

namespace exitlog {

Napi::Function defineEpochs(Napi::Env env);
void putPieces(const Napi::CallbackInfo& info);

}  // namespace exitlog
