// SPDX-License-Identifier: Apache-2.0
// Where the vCPU is to wait: where JavaScript holds it, for whichever of its reasons is the
// nearest (src/vm/holds.ts), or at the courier's next stop (ship/stops.h); whichever comes
// first.
#pragma once

#include <algorithm>
#include <cstdint>
#include <mutex>

#include "ring/shm.h"

namespace exitlog {

class VcpuBound {
 public:
  explicit VcpuBound(const Shm& shm) : shm_(shm) {}

  // JavaScript's thread. UINT64_MAX: nowhere.
  void setHeld(uint64_t icount) { set(held_, icount); }
  // The courier's thread. UINT64_MAX: nowhere.
  void setStop(uint64_t icount) { set(stop_, icount); }

 private:
  void set(uint64_t& bound, uint64_t icount) {
    {
      std::lock_guard<std::mutex> lock(mutex_);
      bound = icount;
      storeRelease(shm_.header()->icount_max, std::min(held_, stop_));
    }
    shm_.wakeVcpu();
  }

  const Shm& shm_;
  std::mutex mutex_;
  uint64_t held_ = UINT64_MAX;
  uint64_t stop_ = UINT64_MAX;
};

}  // namespace exitlog
