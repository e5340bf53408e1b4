// SPDX-License-Identifier: Apache-2.0
#include "bits/clock.h"

#include <ctime>

namespace exitlog {

namespace {

uint64_t clockNs(clockid_t clock) {
  struct timespec ts;
  clock_gettime(clock, &ts);
  return static_cast<uint64_t>(ts.tv_sec) * 1000000000u + static_cast<uint64_t>(ts.tv_nsec);
}

}  // namespace

uint64_t monotonicNs() { return clockNs(CLOCK_MONOTONIC); }
uint64_t realtimeNs() { return clockNs(CLOCK_REALTIME); }

}  // namespace exitlog
