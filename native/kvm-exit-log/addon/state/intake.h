// SPDX-License-Identifier: Apache-2.0
// Takes the pieces of one transfer apart, and believes none of them.
//
// The guarantee: what `take` returns lies within a part that was agreed on, comes next, and
// touches nothing that an earlier piece has touched.  A transfer whose `end` does not throw
// has every piece that was sent, and every whole part from its first byte to its last.
//
// Nothing here knows a file, a socket or a clock: who takes writes, or refuses to.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "state/piece.h"

namespace exitlog {

class Intake {
 public:
  enum class Covers {
    some,   // of the part, in ascending order: the rest is there already
    whole,  // all of it, from its begin on
  };
  // A part of so many bytes. @returns its number: they count from 0
  uint32_t add(uint64_t bytes, Covers covers);

  // A STATE frame, the next one; the data point into it. Throws PeerError for one that is
  // damaged, repeated, out of turn or out of bounds: the transfer is over then.
  Piece take(const uint8_t* frame, size_t length);
  // `pieces` were sent. Throws PeerError if something is missing.
  void end(uint64_t pieces) const;

  uint64_t taken() const { return next_; }

 private:
  struct Part {
    uint64_t bytes;
    Covers covers;
    uint64_t upTo;  // nothing at or after it has come
  };
  void check(const Piece& piece) const;
  std::vector<Part> parts_;
  uint64_t next_ = 0;  // ordinal
  uint32_t part_ = 0;  // of the last piece
};

}  // namespace exitlog
