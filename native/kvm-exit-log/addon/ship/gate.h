// SPDX-License-Identifier: Apache-2.0
// Step 8: the output gate.
//
// The guarantee: no output of the guest, packet or console byte, leaves before the
// acks that cover it and before our own log has it.  An output belongs to the batch
// that carries its record; a batch is released when it and all before it are covered,
// by as many backups as it takes, and written to our own log.  (A recorder has no
// backup: it needs its log only.)
//
// What ends the guarantee: `detach()` alone, called after the fence is won by a side
// that has no peer; until `protect()`, for the batches that are sealed from then on.
// A backup that joins has the guarantee once it has acked all before those.
// What stops release: `close()`, until `reopen()`; and for good, a
// write that failed.  The guest then stalls on its held outputs, and nothing is lost
// or corrupted.
//
// Mechanism: QEMU holds every packet until shm.commit passes its record's ordinal;
// console bytes are held here.
#pragma once

#include <cstdint>
#include <deque>
#include <vector>

#include "bits/ack.h"
#include "bits/events.h"
#include "ring/shm.h"

namespace exitlog {

class Gate {
 public:
  struct Batch {
    uint64_t sequence;
    uint64_t recordEnd;
    uint64_t checksum;
    uint32_t outputs;
    std::vector<uint8_t> console;
    std::vector<uint8_t> guard;
  };
  // `firstSequence`: of the first batch that will be added.
  Gate(const Shm& shm, Events& events, uint64_t firstSequence, bool needsCover)
      : shm_(shm), events_(events), needsCover_(needsCover), coveredEnd_(firstSequence),
        loggedEnd_(firstSequence) {}

  // Batches come in order.
  void add(Batch batch) { held_.push_back(std::move(batch)); }
  // Enough backups hold the log before this sequence. It goes back where another backup
  // counts instead of one that has left.
  void coveredBefore(uint64_t end) { coveredEnd_ = end; }
  // Everything before this sequence is in our log.
  void loggedBefore(uint64_t end) { loggedEnd_ = end; }
  // Throws RingError where an output waits for an ack which a backup that gets the log
  // from this batch on cannot give.
  void checkCoverFrom(uint64_t firstSequence) const;
  // Throws PeerError where it is of another batch than is held under its sequence.
  void checkAck(const AckBody& ack) const;

  void close() { closed_ = true; }
  void reopen() { closed_ = false; }
  void logFailed() { logFailed_ = true; }
  void detach() { detached_ = true; }
  // Undoes it, from the batch with this sequence on: the next one.
  void protect(uint64_t sequence) {
    if (detached_) freeEnd_ = sequence;
    detached_ = false;
  }

  // Lets go what may go.
  void release();

  uint64_t coveredEnd() const { return coveredEnd_; }
  uint64_t held() const { return held_.size(); }
  uint64_t outputsReleased() const { return outputsReleased_; }
  bool detached() const { return detached_; }

 private:
  // A batch whose outputs have not left; null for another.
  const Batch* find(uint64_t sequence) const;
  void commit(uint64_t recordEnd, bool outputs);
  const Shm& shm_;
  Events& events_;
  const bool needsCover_;
  std::deque<Batch> held_;
  bool closed_ = false;
  bool logFailed_ = false;
  bool detached_ = false;
  // One after the last: sequences start at 0.
  uint64_t coveredEnd_;
  uint64_t loggedEnd_;
  uint64_t freeEnd_ = 0;  // before it batches were sealed detached: they wait for nothing
  uint64_t committed_ = 0;
  uint64_t outputsReleased_ = 0;
};

}  // namespace exitlog
