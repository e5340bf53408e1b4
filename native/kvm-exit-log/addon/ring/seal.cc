// SPDX-License-Identifier: Apache-2.0
#include "ring/seal.h"

#include <algorithm>
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

void Sealer::continueFrom(const LogEnd& end) {
  const struct exitlog_ring* ring = shm_.out().cursors;
  const uint64_t tail = loadRelaxed(ring->tail);
  const uint64_t dataTail = loadRelaxed(ring->data_tail);
  if (tail != end.recordEnd || dataTail != end.dataEnd) {
    throw RingError("ERR_RING_CORRUPT",
                    format("QEMU went live at record %" PRIu64 " and data %" PRIu64
                           ", the log ends at record %" PRIu64 " and data %" PRIu64, tail,
                           dataTail, end.recordEnd, end.dataEnd));
  }
  horizonSealed_ = horizonRead_ = end.horizon;
  covered_ = end.covered;
}

// Where records end that may be taken, before `head`: what waits for its epoch's state may not.
uint64_t Sealer::unheld(uint64_t head) const {
  const uint64_t held = loadAcquire(shm_.header()->out_held);
  if (held == 0) return head;
  return std::min(head, std::max(held, loadRelaxed(shm_.out().cursors->tail)));
}

// What is held waits for QEMU, if that is there.
uint64_t Sealer::pending() const {
  const struct exitlog_ring* ring = shm_.out().cursors;
  const uint64_t head = loadAcquire(ring->head);
  return (shm_.hasEnded() ? unheld(head) : head) - loadRelaxed(ring->tail);
}

bool Sealer::isHalfFull() const {
  const Shm::Ring& out = shm_.out();
  const uint64_t bytes = loadAcquire(out.cursors->data_head) - loadRelaxed(out.cursors->data_tail);
  return pending() > out.slots / 2 || bytes > out.dataBytes / 2;
}

// What is there, and how far the log is complete. Throws RingError.
Sealer::Cut Sealer::look() {
  const Shm::Ring& out = shm_.out();
  // The horizon first: records that arrive in between are only beyond it.
  const Position horizon = readHorizon();
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
  Cut cut{};
  cut.tail = tail;
  cut.dataTail = cut.dataEnd = dataTail;
  cut.there = head - tail;
  cut.available = unheld(head) - tail;  // a later head has later payload
  cut.dataHead = dataHead;
  cut.horizon = horizon;
  return cut;
}

// As many records as a batch may carry, checked, to their place in the frame.
void Sealer::takeRecords(Cut& cut, uint8_t* into, uint64_t room, const SealHeader& given) {
  const bool toCut = given.toCut;
  const Shm::Ring& out = shm_.out();
  SealResult& result = cut.result;
  RecordChecker checker(cut.tail, cut.dataTail, cut.dataHead, covered_);
  printedSpans_.clear();
  uint64_t count = 0;
  for (; count < cut.available && count < kBatchRecordsMax && !(toCut && result.cut); count++) {
    // Each slot is read once, so that what is checked is what is sealed.
    struct exitlog_record record;
    memcpy(&record, &out.records[(cut.tail + count) & (out.slots - 1)], sizeof record);
    const bool payload = kindHasPayload(record.kind);
    if (payload && record.arg >= cut.dataTail &&
        record.arg - cut.dataTail + paddedTo8(record.len) > given.dataBytesMax && count > 0) {
      break;
    }
    try {
      checker.check(record);
    } catch (const CorruptError& error) {
      throw RingError("ERR_RING_CORRUPT", format("QEMU broke the log's rules: %s", error.what()));
    }
    if (checker.cursor() - cut.dataTail > kBatchDataBytesMax) {
      throw RingError("ERR_RING_CORRUPT", format("record %" PRIu64 " has %u bytes of payload, "
                                                 "more than a batch may carry", cut.tail + count,
                                                 record.len));
    }
    cut.dataEnd = checker.cursor();
    const uint64_t at = kRecordsAt + count * sizeof record;
    if (room - at < sizeof record) noRoom(at + sizeof record + cut.dataBytes(), room);
    memcpy(into + at, &record, sizeof record);
    if (count == 0) result.firstIcount = record.icount;
    if (kindIsOutput(record.kind)) result.outputs++;
    if (kindIsOutput(record.kind) && record.kind != EXITLOG_CHAR_OUT) result.packets++;
    if (record.kind == EXITLOG_CHAR_OUT) {
      result.charOutBytes += record.len;
      // A port that there is not is one of a QEMU that is not ours: nothing of it is shown.
      if (record.channel < EXITLOG_CONSOLES) {
        printedSpans_.push_back(Span{record.arg - cut.dataTail, record.len, record.channel});
      }
    }
    if (record.kind == EXITLOG_END) result.ended = true;
    result.cut = isCut(record.kind, record.channel);
    if (result.cut) result.cuts++;
  }
  cut.count = count;
  cut.last = checker.last();
  // Who goes on from the end of an epoch begins its log there, however far the guest is now.
  if (toCut && result.cut && cut.last < cut.horizon) cut.horizon = std::max(cut.last, horizonSealed_);
  if (count < cut.there) {
    // Records stay behind: the log is complete only up to the first of them.
    struct exitlog_record next;
    memcpy(&next, &out.records[(cut.tail + count) & (out.slots - 1)], sizeof next);
    const Position stop{next.icount, next.vtime_ns};
    if (stop < cut.horizon) cut.horizon = stop < horizonSealed_ ? horizonSealed_ : stop;
  }
}

void Sealer::takePayload(Cut& cut, uint8_t* into) {
  uint8_t* data = into + kRecordsAt + cut.count * sizeof(struct exitlog_record);
  shm_.out().copyDataOut(cut.dataTail, cut.dataBytes(), data);
  for (std::vector<uint8_t>& printed : printed_) printed.clear();
  for (const Span& span : printedSpans_) {
    std::vector<uint8_t>& printed = printed_[span.console];
    printed.insert(printed.end(), data + span.at, data + span.at + span.length);
  }
}

// Everything before the records, checksums last.
void Sealer::writeHead(Cut& cut, uint8_t* into, const SealHeader& given) const {
  SealResult& result = cut.result;
  const uint64_t bodyBytes = cut.frameBytes() - sizeof(FramePrefix);
  const uint64_t dataBytes = cut.dataBytes();
  if (cut.count == 0) result.firstIcount = cut.horizon.icount;
  result.records = static_cast<uint32_t>(cut.count);
  result.dataBytes = static_cast<uint32_t>(dataBytes);
  result.lastIcount = cut.count == 0 ? cut.horizon.icount : cut.last.icount;
  result.horizon = cut.horizon;
  result.recordEnd = cut.tail + cut.count;

  BatchHead batch{};
  batch.segmentTable = segmentTable(bodyBytes);
  batch.rootPointer = kRootPointer;
  batch.recordsPointer = recordsPointer(cut.count);
  batch.dataPointer = dataPointer(cut.count, dataBytes);
  batch.recordsTag = recordsTag(cut.count);
  BatchHeader& header = batch.header;
  header.vmIdLo = given.vmIdLo;
  header.vmIdHi = given.vmIdHi;
  header.logVersion = kLogVersion;
  header.recordCount = result.records;
  header.term = given.term;
  header.dataBytes = result.dataBytes;
  header.epoch = header.sequence = given.sequence;
  header.firstIcount = result.firstIcount;
  header.lastIcount = result.lastIcount;
  header.horizonIcount = cut.horizon.icount;
  header.horizonVtimeNs = cut.horizon.vtimeNs;
  header.recordBase = cut.tail;
  header.dataBase = cut.dataTail;
  header.outputsReleased = loadRelaxed(shm_.header()->outputs_released);
  header.sealedAtNs = given.sealedAtNs;
  header.bodyPrevChecksum = given.prevChecksum;
  uint8_t* body = into + sizeof(FramePrefix);
  memcpy(body + kTagOffset, &batch.recordsTag, sizeof batch.recordsTag);
  header.bodyChecksum = xxh64(body + kTagOffset, bodyBytes - kTagOffset);
  header.headerChecksum = batchHeaderChecksum(batch);
  memcpy(body, &batch, kTagOffset);
  FramePrefix prefix{kFrameMagic, kFrameBatch, 0, static_cast<uint32_t>(bodyBytes), 0};
  prefix.crc = crc32(&prefix, offsetof(FramePrefix, crc));
  memcpy(into, &prefix, sizeof prefix);
  result.checksum = header.headerChecksum ^ header.bodyChecksum;
}

// From here on OUT has what is left, and QEMU the room.
void Sealer::publish(const Cut& cut) {
  const Shm::Ring& out = shm_.out();
  last_ = cut.result;
  horizonSealed_ = cut.horizon;
  covered_ = cut.last < cut.horizon ? cut.horizon : cut.last;
  const uint64_t end = cut.tail + cut.count;
  storeRelease(out.cursors->data_tail, cut.dataEnd);
  storeRelease(out.cursors->tail, end);
  if (cut.count == 0) return;
  if (end >= scanned_) {
    scanned_ = end;
    waiting_ = Waiting{};
  } else {
    waiting_.packets -= last_.packets;
    waiting_.outputs -= last_.outputs;
    waiting_.cuts -= last_.cuts;
  }
  shm_.wakeVcpu();  // it may wait for room
}

__attribute__((noinline)) uint64_t Sealer::seal(uint8_t* into, uint64_t room,
                                                const SealHeader& given) {
  Cut cut = look();
  if (cut.available == 0 && !(horizonSealed_ < cut.horizon)) return 0;
  if (room < kRecordsAt) noRoom(kRecordsAt, room);
  takeRecords(cut, into, room, given);
  if (cut.count == 0 && !(horizonSealed_ < cut.horizon)) return 0;
  const uint64_t total = cut.frameBytes();
  if (room < total) noRoom(total, room);
  takePayload(cut, into);
  writeHead(cut, into, given);
  publish(cut);
  return total;
}

const Sealer::Waiting& Sealer::waiting() {
  const Shm::Ring& out = shm_.out();
  const uint64_t head = unheld(loadAcquire(out.cursors->head));
  const uint64_t tail = loadRelaxed(out.cursors->tail);
  if (head - tail > out.slots) return waiting_;  // `seal` will say so
  if (scanned_ <= tail) {
    scanned_ = tail;
    waiting_ = Waiting{};
  }
  // A QEMU that a guest has taken over takes back what it has published.
  if (scanned_ - tail > head - tail) return waiting_;
  for (; scanned_ != head; scanned_++) {
    const struct exitlog_record& record = out.records[scanned_ & (out.slots - 1)];
    const uint16_t kind = loadRelaxed(record.kind);
    if (isCut(kind, loadRelaxed(record.channel))) waiting_.cuts++;
    if (kindIsOutput(kind)) waiting_.outputs++;
    if (kindIsOutput(kind) && kind != EXITLOG_CHAR_OUT) waiting_.packets++;
  }
  return waiting_;
}

bool Sealer::horizonMoved() { return horizonSealed_ < readHorizon(); }

}  // namespace exitlog
