// SPDX-License-Identifier: Apache-2.0
#include "ship/gate.h"

#include <algorithm>
#include <cinttypes>

#include "bits/errors.h"

namespace exitlog {

void Gate::checkCoverFrom(uint64_t firstSequence) const {
  if (!needsCover_ || detached_ || held_.empty()) return;
  const uint64_t waits = std::max({freeEnd_, coveredEnd_, held_.front().sequence});
  if (waits > held_.back().sequence || waits >= firstSequence) return;
  throw RingError("ERR_RING_STATE",
                  format("outputs of batch %" PRIu64 " wait for an ack, and the backup would "
                         "get the log from batch %" PRIu64 " on", waits, firstSequence));
}

const Gate::Batch* Gate::find(uint64_t sequence) const {
  if (held_.empty() || sequence < held_.front().sequence) return nullptr;
  // There is no gap in what is held.
  const uint64_t index = sequence - held_.front().sequence;
  return index < held_.size() ? &held_[index] : nullptr;
}

void Gate::checkAck(const AckBody& ack) const {
  const Batch* batch = find(ack.sequence);
  if (batch == nullptr) return;
  if (batch->recordEnd != ack.recordEnd) {
    wrongAck(format("batch %" PRIu64 " as ending at record %" PRIu64 ", it ends at %" PRIu64,
                    ack.sequence, ack.recordEnd, batch->recordEnd));
  }
  // It may hold as many bytes, and not these.
  if (batch->checksum != ack.batchChecksum) {
    wrongAck(format("batch %" PRIu64 " with checksum %016" PRIx64 ", it has %016" PRIx64,
                    ack.sequence, ack.batchChecksum, batch->checksum));
  }
}

__attribute__((noinline)) void Gate::commit(uint64_t recordEnd, bool outputs) {
  committed_ = recordEnd;
  storeRelease(shm_.header()->commit, recordEnd);
  // Inputs alone are waited for by nobody.
  if (outputs) shm_.wake();
  if (shm_.state().bytes > 0) shm_.wakeVcpu();  // it may wait for an epoch
}

void Gate::release() {
  if (closed_ || (logFailed_ && !detached_)) return;
  uint64_t end = 0;
  uint64_t outputs = 0;
  size_t count = 0;
  for (const Batch& batch : held_) {
    const bool covered = !needsCover_ || batch.sequence < coveredEnd_;
    const bool safe = covered && batch.sequence < loggedEnd_;
    if (!detached_ && !safe && batch.sequence >= freeEnd_) break;
    count++;
    end = batch.recordEnd;
    outputs += batch.outputs;
  }
  if (count == 0) return;
  outputsReleased_ += outputs;
  if (end > committed_) commit(end, outputs > 0);
  for (; count > 0; count--) {
    Batch& batch = held_.front();
    if (!batch.console.empty()) events_.push(EventKind::console, std::move(batch.console));
    if (!batch.guard.empty()) events_.push(EventKind::guard, std::move(batch.guard));
    held_.pop_front();
  }
}

}  // namespace exitlog
