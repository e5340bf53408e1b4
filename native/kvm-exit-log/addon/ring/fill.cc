// SPDX-License-Identifier: Apache-2.0
#include "ring/fill.h"

#include <cinttypes>
#include <cstring>

#include "bits/errors.h"
#include "bits/frame.h"

namespace exitlog {

uint64_t Filler::pending() const {
  const struct exitlog_ring* ring = shm_.in().cursors;
  return loadRelaxed(ring->head) - loadAcquire(ring->tail);
}

bool Filler::hasRoom(uint64_t records, uint64_t dataBytes) const {
  const Shm::Ring& in = shm_.in();
  const uint64_t used = loadRelaxed(in.cursors->head) - loadAcquire(in.cursors->tail);
  const uint64_t dataUsed =
      loadRelaxed(in.cursors->data_head) - loadAcquire(in.cursors->data_tail);
  if (used > in.slots || dataUsed > in.dataBytes) {
    throw RingError("ERR_RING_CORRUPT", format("QEMU took %" PRIu64 " records too many from IN",
                                               ~used + 1));
  }
  return records <= in.slots - used && dataBytes <= in.dataBytes - dataUsed;
}

// The seqlock's writer, after the records that it covers.
void Filler::offerHorizon(Position horizon) {
  struct exitlog_shm* shm = shm_.header();
  const uint32_t seq = loadRelaxed(shm->in_horizon_seq);
  storeRelaxed(shm->in_horizon_seq, seq + 1);
  __atomic_thread_fence(__ATOMIC_RELEASE);
  storeRelaxed(shm->in_horizon_icount, horizon.icount);
  storeRelaxed(shm->in_horizon_vtime_ns, horizon.vtimeNs);
  storeRelease(shm->in_horizon_seq, seq + 2);
}

void Continuity::check(const BatchView& batch, uint64_t recordDue, uint64_t dataDue) const {
  const BatchHeader& header = batch.head.header;
  if (header.recordBase != recordDue || header.dataBase != dataDue) {
    throw CorruptError(format("batch %" PRIu64 " does not follow: expected record %" PRIu64
                              " and data %" PRIu64 ", found record %" PRIu64 " and data %" PRIu64,
                              header.sequence, recordDue, dataDue, header.recordBase,
                              header.dataBase));
  }
  const Position horizon{header.horizonIcount, header.horizonVtimeNs};
  if (horizon < horizon_) {
    throw CorruptError(format("batch %" PRIu64 " takes the horizon back from icount %" PRIu64
                              " to %" PRIu64, header.sequence, horizon_.icount, horizon.icount));
  }
  if (header.recordCount == 0) return;
  const struct exitlog_record first = recordAt(batch, 0);
  if (Position{first.icount, first.vtime_ns} < covered_) {
    throw CorruptError(format("batch %" PRIu64 " begins at icount %" PRIu64
                              ", before icount %" PRIu64 ", which the log already covers",
                              header.sequence, first.icount, covered_.icount));
  }
}

void Continuity::advance(const BatchView& batch) {
  const BatchHeader& header = batch.head.header;
  Position last = covered_;
  if (header.recordCount > 0) {
    const struct exitlog_record end = recordAt(batch, header.recordCount - 1);
    last = Position{end.icount, end.vtime_ns};
  }
  horizon_ = Position{header.horizonIcount, header.horizonVtimeNs};
  covered_ = last < horizon_ ? horizon_ : last;
}

bool Filler::hasRoomFor(const uint8_t* frame) const {
  BatchHead head;
  memcpy(&head, frame + sizeof(FramePrefix), sizeof head);
  return hasRoom(head.header.recordCount, head.header.dataBytes);
}

bool Filler::fill(const uint8_t* frame, uint64_t bytes) {
  const FrameView view = readFrame(frame, bytes);
  if (view.totalBytes != bytes) {
    throw CorruptError(format("frame: expected %" PRIu64 " bytes, found %" PRIu64,
                              view.totalBytes, bytes));
  }
  return fillVerified(readBatch(view));
}

__attribute__((noinline)) bool Filler::fillVerified(const BatchView& batch) {
  std::lock_guard<std::mutex> lock(mutex_);
  const BatchHeader& header = batch.head.header;
  const Shm::Ring& in = shm_.in();
  const uint64_t head = loadRelaxed(in.cursors->head);
  const uint64_t dataHead = loadRelaxed(in.cursors->data_head);
  put_.check(batch, head, dataHead);
  if (header.recordCount > in.slots || header.dataBytes > in.dataBytes) {
    throw RangeFault(format("a batch of %u records and %u bytes can never fit a ring of %" PRIu64
                            " records and %" PRIu64 " bytes", header.recordCount,
                            header.dataBytes, in.slots, in.dataBytes));
  }
  if (!hasRoom(header.recordCount, header.dataBytes)) return false;

  in.copyDataIn(dataHead, header.dataBytes, batch.data);
  in.copyRecordsIn(head, header.recordCount, batch.records);
  storeRelease(in.cursors->data_head, dataHead + header.dataBytes);
  storeRelease(in.cursors->head, head + header.recordCount);
  put_.advance(batch);
  storeRelease(shm_.header()->outputs_sent, header.outputsReleased);
  offerHorizon(Position{header.horizonIcount, header.horizonVtimeNs});
  shm_.wakeVcpu();
  return true;
}

void Filler::startAt(uint64_t record, uint64_t dataOffset) {
  std::lock_guard<std::mutex> lock(mutex_);
  struct exitlog_ring* ring = shm_.in().cursors;
  const uint32_t state = loadAcquire(shm_.header()->state);
  if ((state != EXITLOG_STATE_INIT && state != EXITLOG_STATE_WAITING) ||
      loadRelaxed(ring->head) != 0) {
    throw RingError("ERR_RING_STATE", "a ring starts somewhere only before it is used");
  }
  if ((dataOffset & 7) != 0) throw RangeFault("dataOffset must be a multiple of 8");
  storeRelaxed(ring->data_tail, dataOffset);
  storeRelaxed(ring->tail, record);
  storeRelease(ring->data_head, dataOffset);
  storeRelease(ring->head, record);
}

void Filler::hear(Position horizon) {
  std::lock_guard<std::mutex> lock(mutex_);
  offerHorizon(horizon);
}

bool Filler::isAt(uint64_t record, uint64_t dataOffset) const {
  const struct exitlog_ring* ring = shm_.in().cursors;
  return loadRelaxed(ring->head) == record && loadRelaxed(ring->data_head) == dataOffset;
}

bool Filler::command(uint16_t kind, uint16_t channel, const uint8_t* payload, uint32_t bytes) {
  std::lock_guard<std::mutex> lock(mutex_);
  const Shm::Ring& in = shm_.in();
  if (bytes > in.dataBytes) {
    throw RangeFault(format("%u bytes can never fit a ring of %" PRIu64, bytes, in.dataBytes));
  }
  if (!hasRoom(1, paddedTo8(bytes))) return false;
  const uint64_t head = loadRelaxed(in.cursors->head);
  const uint64_t dataHead = loadRelaxed(in.cursors->data_head);
  struct exitlog_record record {};
  record.kind = kind;
  record.channel = channel;
  if (kindHasPayload(kind)) {
    record.len = bytes;
    record.arg = dataHead;
    in.copyDataIn(dataHead, bytes, payload);
  }
  in.copyRecordsIn(head, 1, &record);
  storeRelease(in.cursors->data_head, dataHead + paddedTo8(bytes));
  storeRelease(in.cursors->head, head + 1);
  shm_.wake();
  return true;
}

}  // namespace exitlog
