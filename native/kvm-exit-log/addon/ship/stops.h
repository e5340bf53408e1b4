// SPDX-License-Identifier: Apache-2.0
// Stops of the vCPU: it runs a number of instructions, waits there, and goes on when all that
// was sealed up to there is acknowledged. Whether and how far apart is a number (ship.h).
#pragma once

#include <cstdint>

#include "ring/bound.h"

namespace exitlog {

class Stops {
 public:
  // `every`: instructions from one to the next; 0: there are none.
  Stops(VcpuBound& bound, uint64_t every) : bound_(bound), every_(every) {}

  // A guest that is not on its way to a stop is not to be looked after.
  bool isSet() const { return next_ != kNowhere; }

  // Sets the first one, counted from `icount`, or the next one if this one is over:
  // the log is sealed to `sealedTo`, and acknowledged as far as it is sealed or not.
  void advance(uint64_t icount, uint64_t sealedTo, bool isAcked) {
    if (every_ == 0 || (isSet() && !(isAcked && sealedTo >= next_))) return;
    set((isSet() ? next_ : icount) + every_);
  }
  void clear() {
    if (isSet()) set(kNowhere);
  }

 private:
  static constexpr uint64_t kNowhere = UINT64_MAX;
  void set(uint64_t icount) {
    next_ = icount;
    bound_.setStop(icount);
  }

  VcpuBound& bound_;
  const uint64_t every_;
  uint64_t next_ = kNowhere;
};

}  // namespace exitlog
