// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>

namespace exitlog {

uint64_t monotonicNs();
uint64_t realtimeNs();

}  // namespace exitlog
