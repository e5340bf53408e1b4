// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <napi.h>

namespace exitlog {

// hashFile(path): Promise<{ xxh64, bytes }>
Napi::Value hashFile(const Napi::CallbackInfo& info);

// hashBlocks(path, blockBytes): Promise<BigUint64Array>
Napi::Value hashBlocks(const Napi::CallbackInfo& info);

}  // namespace exitlog
