// SPDX-License-Identifier: Apache-2.0
#include "ship/gate.h"

#include <algorithm>
#include <cinttypes>

#include "bits/peer_error.h"

namespace exitlog {

void Gate::peerArrived(uint64_t firstSequence) {
  const uint64_t owed = std::max(freeEnd_, ackedEnd_);
  if (needsAck_ && !detached_ && !held_.empty()) {
    const uint64_t waits = std::max(owed, held_.front().sequence);
    if (waits <= held_.back().sequence && waits < firstSequence) {
      throw RingError("ERR_RING_STATE",
                      format("outputs of batch %" PRIu64 " wait for an ack, and the backup would "
                             "get the log from batch %" PRIu64 " on", waits, firstSequence));
    }
  }
  ackedEnd_ = sentEnd_ = firstSequence;
}

void Gate::ack(uint64_t sequence, uint64_t recordEnd) {
  if (sequence >= sentEnd_) {
    throw PeerError(kPeerProtocol,
                    format("the backup acknowledged batch %" PRIu64 ", which was never sent "
                           "(the last one sent is %" PRId64 ")",
                           sequence, static_cast<int64_t>(sentEnd_) - 1));
  }
  // Positions travel in acks, so one that acknowledges nothing new is normal.
  if (sequence < ackedEnd_) return;
  // What was sent is held, or has left before: there is no gap in what is held.
  const bool isHeld = !held_.empty() && sequence >= held_.front().sequence;
  if (isHeld && held_[sequence - held_.front().sequence].recordEnd != recordEnd) {
    throw PeerError(kPeerProtocol,
                    format("the backup acknowledged batch %" PRIu64 " as ending at record %" PRIu64
                           ", it ends at %" PRIu64, sequence, recordEnd,
                           held_[sequence - held_.front().sequence].recordEnd));
  }
  ackedEnd_ = sequence + 1;
}

__attribute__((noinline)) void Gate::commit(uint64_t recordEnd, bool outputs) {
  committed_ = recordEnd;
  storeRelease(shm_.header()->commit, recordEnd);
  // Inputs alone are waited for by nobody.
  if (outputs) shm_.wake();
}

void Gate::release() {
  if (closed_ || (logFailed_ && !detached_)) return;
  uint64_t end = 0;
  uint64_t outputs = 0;
  size_t count = 0;
  for (const Batch& batch : held_) {
    const bool covered = (!needsAck_ || batch.sequence < ackedEnd_) && batch.sequence < loggedEnd_;
    if (!detached_ && !covered && batch.sequence >= freeEnd_) break;
    count++;
    end = batch.recordEnd;
    outputs += batch.outputs;
  }
  if (count == 0) return;
  outputsReleased_ += outputs;
  if (end > committed_) commit(end, outputs > 0);
  for (; count > 0; count--) {
    if (!held_.front().console.empty()) {
      events_.push(EventKind::console, std::move(held_.front().console));
    }
    held_.pop_front();
  }
}

}  // namespace exitlog
