// SPDX-License-Identifier: Apache-2.0
// The steps of a courier one by one, for tests, simulations and benchmarks (testing.ts):
// the product has the courier do them.
#pragma once

#include <napi.h>

namespace exitlog {

Napi::Object testing(Napi::Env env);

}  // namespace exitlog
