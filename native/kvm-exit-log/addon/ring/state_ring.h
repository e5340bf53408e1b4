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
    // Null: all zero. In the ring itself where it can be, which QEMU can write to at any time;
    // valid until `pop`.
    const uint8_t* data;
  };
  // The next piece, again until it is taken. False: there is none. Throws RingError if QEMU
  // broke a rule of the ring.
  bool peek(Piece& piece);
  // It is taken, and QEMU has its room again.
  void pop();

 private:
  bool look(const Shm::State& ring);
  const Shm& shm_;
  Piece seen_{};                // looked at once: QEMU may write over it
  uint64_t seenBytes_ = 0;      // of it, in the ring; 0: none was
  std::vector<uint8_t> data_;  // its, where the ring has them in two parts
};

}  // namespace exitlog
