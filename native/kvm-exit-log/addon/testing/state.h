// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <napi.h>

namespace exitlog {

// Pieces of state as frames, and an intake that takes them apart, without files and links.
void addState(Napi::Env env, Napi::Object door);

}  // namespace exitlog
