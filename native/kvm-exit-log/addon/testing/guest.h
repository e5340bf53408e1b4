// SPDX-License-Identifier: Apache-2.0
// QEMU's half of the ring, for a simulated guest: what exitlog/ring.c does.
#pragma once

#include <napi.h>

namespace exitlog {

void addGuest(Napi::Env env, Napi::Object door);

}  // namespace exitlog
