// SPDX-License-Identifier: Apache-2.0
// The heartbeats of one connection, both ways. What they say of this side in words (its
// state, its term) is JavaScript's; a heartbeat that repeats the words of the last one is
// sent, and heard, without it: an idle pair does little else.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

namespace exitlog {

class Pulse {
 public:
  // A frame with JavaScript's words, to be sent each `intervalNs` from now on; at once if they
  // are new. A JavaScript that does not come back `forNs` later is no sign of life: nothing is
  // sent then.
  void renew(const uint8_t* frame, size_t length, uint64_t intervalNs, uint64_t forNs,
             uint64_t nowNs);
  // JavaScript is to have come back by then; UINT64_MAX: it has nothing to renew.
  uint64_t overNs() const { return frame_.empty() ? UINT64_MAX : untilNs_; }
  // When it was here last.
  uint64_t renewedNs() const { return renewedNs_; }
  // When the next one is to be sent, CLOCK_MONOTONIC; UINT64_MAX: none is.
  uint64_t dueNs() const;

  struct Place {
    uint64_t icount;
    int64_t vtimeNs;
    uint64_t visits;
  };
  // It, with where the VM is.
  const std::vector<uint8_t>& next(const Place& place, uint64_t nowNs, uint64_t realtimeNs);

  // A heartbeat of the peer. False: it is for JavaScript, having other words than the last, or
  // because something is wrong with it.
  bool heard(const uint8_t* frame, size_t length, uint64_t realtimeNs);
  struct Heard {
    std::vector<uint8_t> frame;
    uint64_t atNs;  // CLOCK_REALTIME
  };
  // The last of those that JavaScript was not told of. False: none since the last call.
  bool take(Heard& into);

 private:
  std::vector<uint8_t> frame_;  // empty: none is sent
  uint64_t intervalNs_ = 0;
  uint64_t renewedNs_ = 0;
  uint64_t untilNs_ = 0;
  uint64_t dueNs_ = 0;
  uint64_t counter_ = 0;
  Heard heard_{{}, 0};
  bool isTaken_ = true;
};

}  // namespace exitlog
