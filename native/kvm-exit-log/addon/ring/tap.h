// SPDX-License-Identifier: Apache-2.0
// The tap behind a NIC: opened here, so that QEMU needs no right to open one.
#pragma once

#include <napi.h>

namespace exitlog {

// openTap(name): its descriptor, the caller's to close. Throws a system error: EBUSY where
// another process has it, EPERM where it is not this user's.
Napi::Value openTap(const Napi::CallbackInfo& info);

}  // namespace exitlog
