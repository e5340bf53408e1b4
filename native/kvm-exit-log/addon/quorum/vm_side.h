// SPDX-License-Identifier: Apache-2.0
// The VM of a replica, on the replica's thread. A follower's: what is agreed on goes into its
// replay ring, and never anything else. The leader's, which is live: its batches are proposed, and
// an output leaves when the batch that has it is agreed on. The log that is agreed on is the log of
// both: neither has another one.
#pragma once

#include <deque>
#include <functional>
#include <memory>
#include <vector>

#include "bits/clock.h"
#include "bits/events.h"
#include "bits/facts.h"
#include "core/entry.h"
#include "ring/core.h"
#include "ship/ship.h"

namespace exitlog {

// Whether an agreed payload is a batch of the exit log.
bool isBatchFrame(const quorum::Slice& payload);

class VmSide {
 public:
  // `events`: console bytes, flushed, broken; they are this thread's.
  VmSide(std::shared_ptr<RingCore> core, const Clock& clock, Events& events);

  // A batch that is agreed on, in its turn. Throws CorruptError where it does not continue the log.
  void agreed(const quorum::Slice& frame);

  // It went live where the agreed log ends: `options` but for where it continues. Throws RingError
  // while some of that log is not in the ring, or where QEMU went live elsewhere.
  void lead(ShipOptions options);
  bool leads() const { return shipper_ != nullptr; }
  // This replica leads no more, and nobody else does: nothing of the VM is proposed, and nothing
  // leaves, until it leads again. Its log has no end but its own then, and it goes on.
  void pause() { isPaused_ = true; }
  void goOn() { isPaused_ = isDeposed_; }
  // Another one leads: that VM is not this one. For good.
  void depose();
  bool isDeposed() const { return isDeposed_; }
  void flush() {
    if (shipper_) shipper_->flush();
  }

  // What is due: fills, seals, releases. @returns when to look again, CLOCK_MONOTONIC ns
  uint64_t pump();
  // Payloads to be proposed, in order; those that were not are to be given back.
  std::vector<quorum::Slice> takeProposals();
  void giveBack(std::vector<quorum::Slice> proposals) {
    proposer_.proposals = std::move(proposals);
  }

  // Before a wait: false where there is something to do by now.
  bool maySleep();
  void awake();
  int notifyFd() const { return core_->shm.notifyFd(); }
  void tookNotice() const;

  uint64_t queuedBytes() const { return queuedBytes_; }
  void tell(Facts& facts) const;

 private:
  // Where the shipper's batches go: all that was proposed and is not agreed on yet is queued.
  class Proposer final : public Outlet {
   public:
    void send(const uint8_t* bytes, size_t count) override {
      waiting += count;
      proposals.push_back(quorum::Slice::copy(bytes, count));
    }
    size_t queuedBytes() const override { return waiting; }
    std::vector<quorum::Slice> proposals;
    size_t waiting = 0;
  };
  void fill();
  void verify(const BatchView& batch) const;
  void sayConsole(const BatchView& batch);

  const std::shared_ptr<RingCore> core_;
  const Clock& clock_;
  Events& events_;
  Continuity continuity_;
  LogEnd end_;  // of the agreed log
  std::deque<quorum::Slice> queue_;
  uint64_t queuedBytes_ = 0;
  uint64_t bytes_ = 0;
  Proposer proposer_;
  std::unique_ptr<Shipper> shipper_;
  bool isPaused_ = false;
  bool isDeposed_ = false;
  Peer* peer_ = nullptr;  // the shipper's: all who agree
};

}  // namespace exitlog
