// SPDX-License-Identifier: Apache-2.0
// A QEMU that executes the log: batches go to its replay ring.
#pragma once

#include "receive/follower.h"
#include "ring/fill.h"
#include "ring/shm.h"

namespace exitlog {

class ReplayFollower final : public Follower {
 public:
  ReplayFollower(const Shm& shm, Filler& filler) : shm_(shm), filler_(filler) {}
  void checkStart(uint64_t recordEnd, uint64_t dataEnd) const override;
  bool isWhole(const BatchView& batch) override;
  void takeState(const uint8_t* frame, size_t bytes) override;
  bool put(const BatchView& batch) override { return filler_.fillVerified(batch); }
  bool hasRoomFor(const uint8_t* frame) const override { return filler_.hasRoomFor(frame); }
  Position executed(Position received) const override;
  uint64_t pending() const override { return filler_.pending(); }

 private:
  const Shm& shm_;
  Filler& filler_;
};

}  // namespace exitlog
