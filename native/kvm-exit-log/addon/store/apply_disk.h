// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <napi.h>

namespace exitlog {

// applyDisk(file, image): Promise<void>
Napi::Value applyDisk(const Napi::CallbackInfo& info);

}  // namespace exitlog
