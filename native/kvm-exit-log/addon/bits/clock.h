// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>

namespace exitlog {

uint64_t monotonicNs();
uint64_t realtimeNs();

// What ship and receive know of the time: a simulation has its own.
class Clock {
 public:
  virtual ~Clock() = default;
  virtual uint64_t monotonicNs() const = 0;
  virtual uint64_t realtimeNs() const = 0;
};

class HostClock final : public Clock {
 public:
  uint64_t monotonicNs() const override { return exitlog::monotonicNs(); }
  uint64_t realtimeNs() const override { return exitlog::realtimeNs(); }
};

}  // namespace exitlog
