// SPDX-License-Identifier: Apache-2.0
// Since when the next ack is due: an output, or an epoch, waits for it.
#pragma once

#include <cstdint>

namespace exitlog {

class Awaited {
 public:
  // A batch that is acknowledged by itself. What lies within an epoch is with its end.
  void sealed(uint64_t end, uint64_t coveredEnd, uint64_t nowNs) {
    if (coveredEnd >= end_) sinceNs_ = nowNs;
    end_ = end;
  }
  // An ack came, or acks count from now on.
  void moved(uint64_t nowNs) { sinceNs_ = nowNs; }
  // CLOCK_MONOTONIC; 0: all has come.
  uint64_t sinceNs(uint64_t coveredEnd) const { return coveredEnd >= end_ ? 0 : sinceNs_; }

 private:
  uint64_t end_ = 0;  // after the last batch whose ack is due
  uint64_t sinceNs_ = 0;
};

}  // namespace exitlog
