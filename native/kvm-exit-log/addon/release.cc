// SPDX-License-Identifier: Apache-2.0
#include "release.h"

#include <cinttypes>

#include "peer.h"

namespace exitlog {

void Gate::ack(uint64_t sequence, uint64_t recordEnd) {
  if (sequence >= sentEnd_) {
    throw PeerError(kPeerProtocol,
                    format("the backup acknowledged batch %" PRIu64 ", which was never sent "
                           "(the last one sent is %" PRId64 ")",
                           sequence, static_cast<int64_t>(sentEnd_) - 1));
  }
  // Positions travel in acks, so one that acknowledges nothing new is normal.
  if (sequence < ackedEnd_) return;
  const uint64_t first = held_.empty() ? 0 : held_.front().sequence;
  const bool known = !held_.empty() && sequence >= first && sequence - first < held_.size();
  const Batch* batch = known ? &held_[sequence - first] : nullptr;
  if (batch == nullptr || batch->recordEnd != recordEnd) {
    const std::string expected =
        batch == nullptr ? "nothing" : format("%" PRIu64, batch->recordEnd);
    throw PeerError(kPeerProtocol, format("the backup acknowledged batch %" PRIu64
                                          " as ending at record %" PRIu64 ", it ends at %s",
                                          sequence, recordEnd, expected.c_str()));
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
    if (!detached_ && !covered) break;
    count++;
    end = batch.recordEnd;
    outputs += batch.outputs;
  }
  if (count == 0) return;
  outputsReleased_ += outputs;
  if (end > committed_) commit(end, outputs > 0);
  for (; count > 0; count--) {
    if (!held_.front().console.empty()) {
      events_.push(EventKind::kConsole, std::move(held_.front().console));
    }
    held_.pop_front();
  }
}

}  // namespace exitlog
