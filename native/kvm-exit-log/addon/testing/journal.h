// SPDX-License-Identifier: Apache-2.0
// A disk journal step by step: for a process that is killed between two of them.
#pragma once

#include <napi.h>

namespace exitlog {

Napi::Function defineJournal(Napi::Env env);

}  // namespace exitlog
