// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <napi.h>

namespace exitlog {

// hostClock(): { synchronised, errorMs } as the kernel has it; null: it does not say
Napi::Value hostClock(const Napi::CallbackInfo& info);

}  // namespace exitlog
