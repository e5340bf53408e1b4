// SPDX-License-Identifier: Apache-2.0
// One QEMU's ring with its producer and its consumer: shared by ExitRing, for
// JavaScript, and by the courier's thread.
#pragma once

#include <functional>

#include "ring/bound.h"
#include "ring/fill.h"
#include "ring/seal.h"
#include "ring/shm.h"

namespace exitlog {

struct RingCore {
  RingCore(uint64_t recordSlots, uint64_t dataBytes, uint64_t stateBytes)
      : shm(recordSlots, dataBytes, stateBytes), sealer(shm), filler(shm), bound(shm) {}
  Shm shm;
  Sealer sealer;
  Filler filler;
  VcpuBound bound;
  // Set while a courier runs: it alone seals, fills and listens then.
  std::function<void()> stopCourier;
};

}  // namespace exitlog
