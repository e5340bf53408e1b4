// SPDX-License-Identifier: Apache-2.0
// The consumer's side of the ring of state (struct exitlog_piece).
#pragma once

#include <cstdint>
#include <vector>

#include "ring/shm.h"

namespace exitlog {

// QEMU may wait for room now: the largest piece does not fit.
bool stateIsFull(const Shm& shm);

class StateRing {
 public:
  explicit StateRing(const Shm& shm) : shm_(shm) {}

  struct Piece {
    struct exitlog_piece head;
    const uint8_t* data;  // null: all zero; valid until the next `next`
  };
  // The next piece, which is taken; QEMU has its room again. False: there is none.
  // Throws RingError if QEMU broke a rule of the ring.
  bool next(Piece& piece);

 private:
  const Shm& shm_;
  std::vector<uint8_t> data_;
};

}  // namespace exitlog
