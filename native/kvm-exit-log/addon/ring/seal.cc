// SPDX-License-Identifier: Apache-2.0
#include "ring/seal.h"

#include <cinttypes>
#include <cstring>

#include "bits/checksum.h"
#include "bits/errors.h"
#include "bits/frame.h"

namespace exitlog {

namespace {

constexpr uint64_t kRecordsAt = sizeof(FramePrefix) + sizeof(BatchHead);

[[noreturn]] void noRoom(uint64_t needed, uint64_t room) {
  throw RangeFault(format("the batch needs at least %" PRIu64 " bytes and `into` has %" PRIu64,
                          needed, room));
}

}  // namespace

// The seqlock's reader.  A QEMU killed inside its writer leaves the count odd for
// ever, so after some tries the horizon read last stands: an older one is only
// less, never wrong.
Position Sealer::readHorizon() {
  const struct exitlog_shm* shm = shm_.header();
  for (int tries = 0; tries < 10000; tries++) {
    const uint32_t before = loadAcquire(shm->horizon_seq);
    if (before % 2 == 0) {
      const Position read{loadRelaxed(shm->horizon_icount), loadRelaxed(shm->horizon_vtime_ns)};
      __atomic_thread_fence(__ATOMIC_ACQUIRE);
      if (loadRelaxed(shm->horizon_seq) == before) {
        horizonRead_ = read;
        break;
      }
    }
    __builtin_ia32_pause();
  }
  return horizonRead_;
}

uint64_t Sealer::pending() const {
  const struct exitlog_ring* ring = shm_.out().cursors;
  return loadAcquire(ring->head) - loadRelaxed(ring->tail);
}

__attribute__((noinline)) uint64_t Sealer::seal(uint8_t* into, uint64_t room, const SealHeader& given) {
  const Shm::Ring& out = shm_.out();
  // The horizon first: records that arrive in between are only beyond it.
  Position horizon = readHorizon();
  const uint64_t head = loadAcquire(out.cursors->head);
  const uint64_t dataHead = loadAcquire(out.cursors->data_head);
  const uint64_t tail = loadRelaxed(out.cursors->tail);
  const uint64_t dataTail = loadRelaxed(out.cursors->data_tail);
  if (head - tail > out.slots || dataHead - dataTail > out.dataBytes) {
    throw RingError("ERR_RING_CORRUPT",
                    format("OUT holds %" PRIu64 " records and %" PRIu64
                           " bytes, more than the ring has room for", head - tail,
                           dataHead - dataTail));
  }
  if (horizon < horizonSealed_) {
    throw RingError("ERR_RING_CORRUPT", format("the horizon went back from icount %" PRIu64
                                               " to %" PRIu64, horizonSealed_.icount,
                                               horizon.icount));
  }
  const bool moved = horizonSealed_ < horizon;
  if (head == tail && !moved) return 0;
  if (room < kRecordsAt) noRoom(kRecordsAt, room);

  SealResult result;
  RecordChecker checker(tail, dataTail, dataHead, covered_);
  const uint64_t available = head - tail;
  uint64_t count = 0;
  uint64_t dataEnd = dataTail;
  for (; count < available && count < kBatchRecordsMax; count++) {
    // Each slot is read once, so that what is checked is what is sealed.
    struct exitlog_record record;
    memcpy(&record, &out.records[(tail + count) & (out.slots - 1)], sizeof record);
    const bool payload = kindHasPayload(record.kind);
    if (payload && record.arg >= dataTail &&
        record.arg - dataTail + paddedTo8(record.len) > kBatchDataBytesMax && count > 0) {
      break;
    }
    try {
      checker.check(record);
    } catch (const CorruptError& error) {
      throw RingError("ERR_RING_CORRUPT", format("QEMU broke the log's rules: %s", error.what()));
    }
    if (checker.cursor() - dataTail > kBatchDataBytesMax) {
      throw RingError("ERR_RING_CORRUPT", format("record %" PRIu64 " has %u bytes of payload, "
                                                 "more than a batch may carry", tail + count,
                                                 record.len));
    }
    dataEnd = checker.cursor();
    const uint64_t at = kRecordsAt + count * sizeof record;
    if (room - at < sizeof record) noRoom(at + sizeof record + (dataEnd - dataTail), room);
    memcpy(into + at, &record, sizeof record);
    if (count == 0) result.firstIcount = record.icount;
    if (kindIsOutput(record.kind)) result.outputs++;
    if (kindIsOutput(record.kind) && record.kind != EXITLOG_CHAR_OUT) result.packets++;
    if (record.kind == EXITLOG_CHAR_OUT) result.charOutBytes += record.len;
    if (record.kind == EXITLOG_END) result.ended = true;
  }
  const uint64_t dataBytes = dataEnd - dataTail;
  const uint64_t total = sizeof(FramePrefix) + batchBodyBytes(count, dataBytes);
  if (room < total) noRoom(total, room);
  if (count < available) {
    // Records stay behind: the log is complete only up to the first of them.
    struct exitlog_record next;
    memcpy(&next, &out.records[(tail + count) & (out.slots - 1)], sizeof next);
    const Position stop{next.icount, next.vtime_ns};
    if (stop < horizon) horizon = stop < horizonSealed_ ? horizonSealed_ : stop;
  }
  out.copyDataOut(dataTail, dataBytes, into + kRecordsAt + count * sizeof(struct exitlog_record));

  BatchHead batch{};
  batch.segmentTable = segmentTable(total - sizeof(FramePrefix));
  batch.rootPointer = kRootPointer;
  batch.recordsPointer = recordsPointer(count);
  batch.dataPointer = dataPointer(count, dataBytes);
  batch.recordsTag = recordsTag(count);
  BatchHeader& header = batch.header;
  header.vmIdLo = given.vmIdLo;
  header.vmIdHi = given.vmIdHi;
  header.logVersion = kLogVersion;
  header.recordCount = static_cast<uint32_t>(count);
  header.term = given.term;
  header.dataBytes = static_cast<uint32_t>(dataBytes);
  header.epoch = header.sequence = given.sequence;
  header.firstIcount = count == 0 ? horizon.icount : result.firstIcount;
  header.lastIcount = count == 0 ? horizon.icount : checker.last().icount;
  header.horizonIcount = horizon.icount;
  header.horizonVtimeNs = horizon.vtimeNs;
  header.recordBase = tail;
  header.dataBase = dataTail;
  header.outputsReleased = loadRelaxed(shm_.header()->outputs_released);
  header.sealedAtNs = given.sealedAtNs;
  header.bodyPrevChecksum = given.prevChecksum;
  uint8_t* body = into + sizeof(FramePrefix);
  memcpy(body + kTagOffset, &batch.recordsTag, sizeof batch.recordsTag);
  header.bodyChecksum = xxh64(body + kTagOffset, total - sizeof(FramePrefix) - kTagOffset);
  header.headerChecksum = batchHeaderChecksum(batch);
  memcpy(body, &batch, kTagOffset);
  FramePrefix prefix{kFrameMagic, kFrameBatch, 0,
                     static_cast<uint32_t>(total - sizeof(FramePrefix)), 0};
  prefix.crc = crc32(&prefix, offsetof(FramePrefix, crc));
  memcpy(into, &prefix, sizeof prefix);

  result.records = header.recordCount;
  result.dataBytes = header.dataBytes;
  result.firstIcount = header.firstIcount;
  result.lastIcount = header.lastIcount;
  result.horizon = horizon;
  result.recordEnd = tail + count;
  result.checksum = header.headerChecksum ^ header.bodyChecksum;
  last_ = result;
  horizonSealed_ = horizon;
  covered_ = checker.last() < horizon ? horizon : checker.last();

  storeRelease(out.cursors->data_tail, dataEnd);
  storeRelease(out.cursors->tail, tail + count);
  if (count > 0) {
    if (tail + count >= scanned_) {
      scanned_ = tail + count;
      waiting_ = Waiting{};
    } else {
      waiting_.packets -= result.packets;
      waiting_.outputs -= result.outputs;
    }
    shm_.wakeVcpu();  // it may wait for room
  }
  return total;
}

const Sealer::Waiting& Sealer::waiting() {
  const Shm::Ring& out = shm_.out();
  const uint64_t head = loadAcquire(out.cursors->head);
  const uint64_t tail = loadRelaxed(out.cursors->tail);
  if (head - tail > out.slots) return waiting_;  // `seal` will say so
  if (scanned_ == tail) waiting_ = Waiting{};
  for (; scanned_ != head; scanned_++) {
    const uint16_t kind = loadRelaxed(out.records[scanned_ & (out.slots - 1)].kind);
    if (kindIsOutput(kind)) waiting_.outputs++;
    if (kindIsOutput(kind) && kind != EXITLOG_CHAR_OUT) waiting_.packets++;
  }
  return waiting_;
}

bool Sealer::horizonMoved() { return horizonSealed_ < readHorizon(); }

}  // namespace exitlog
