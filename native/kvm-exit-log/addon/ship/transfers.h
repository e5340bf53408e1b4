// SPDX-License-Identifier: Apache-2.0
// How long epochs take to come to the backup, for who says how long they are.
//
// An epoch's transfer begins where its batch is sealed, or with the commit of the one before
// if that is later: what it has waited for others is none of its own.
#pragma once

#include <algorithm>
#include <cstdint>
#include <deque>

namespace exitlog {

class Transfers {
 public:
  // The batch with this sequence ends one.
  void begins(uint64_t sequence, uint64_t nowNs) { underWay_.push_back(Epoch{sequence, nowNs}); }
  // All batches before this sequence are committed.
  void committedBefore(uint64_t end, uint64_t nowNs) {
    for (; !underWay_.empty() && underWay_.front().sequence < end; underWay_.pop_front()) {
      count_++;
      ns_ += nowNs - std::max(underWay_.front().sealedNs, committedNs_);
      committedNs_ = nowNs;
    }
  }
  // Another backup gets what follows.
  void forget() { underWay_.clear(); }

  uint64_t count() const { return count_; }
  uint64_t ns() const { return ns_; }

 private:
  struct Epoch {
    uint64_t sequence;
    uint64_t sealedNs;
  };
  std::deque<Epoch> underWay_;
  uint64_t committedNs_ = 0;
  uint64_t count_ = 0;  // committed
  uint64_t ns_ = 0;     // that these took, in all
};

}  // namespace exitlog
