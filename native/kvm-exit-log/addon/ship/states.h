// SPDX-License-Identifier: Apache-2.0
// What an epoch consists of, as STATE frames: from QEMU's ring of state to the backups, in its
// order, before the batch whose CHECKPOINT ends it, and the next epoch's after that batch.
#pragma once

#include <cstdint>
#include <vector>

#include "ring/state_ring.h"

namespace exitlog {

class States {
 public:
  explicit States(const Shm& shm) : shm_(shm), ring_(shm) {}

  struct Frame {
    const uint8_t* bytes;  // valid until the next `next`
    uint64_t count;
  };
  // The next frame of this epoch. False: there is none yet, or it has ended.
  // Throws RingError if QEMU broke a rule of the ring.
  bool next(Frame& frame);
  bool hasEnded() const { return hasEnded_; }
  // Its batch has been sent.
  void nextEpoch() { hasEnded_ = false; }
  // QEMU may have to wait for room soon.
  bool isFilling() const;

 private:
  const Shm& shm_;
  StateRing ring_;
  std::vector<uint8_t> frame_;
  uint64_t ordinal_ = 0;
  bool hasEnded_ = false;
};

}  // namespace exitlog
