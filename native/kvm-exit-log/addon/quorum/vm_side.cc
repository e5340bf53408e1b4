// SPDX-License-Identifier: Apache-2.0
#include "quorum/vm_side.h"

#include <unistd.h>

#include <algorithm>
#include <cinttypes>
#include <cstring>
#include <utility>

#include "bits/errors.h"
#include "bits/frame.h"

namespace exitlog {

namespace {

// How often to look whether a full IN has room: it holds much more than QEMU takes in this time.
constexpr uint64_t kRoomNs = 1000000;

BatchView batchIn(const quorum::Slice& frame) {
  return readBatch(readFrame(frame.bytes.get(), frame.count));
}

}  // namespace

bool isBatchFrame(const quorum::Slice& payload) {
  FramePrefix prefix{};
  if (payload.count < sizeof prefix) return false;
  memcpy(&prefix, payload.bytes.get(), sizeof prefix);
  return prefix.magic == kFrameMagic && prefix.type == kFrameBatch;
}

VmSide::VmSide(std::shared_ptr<RingCore> core, const Clock& clock, Events& events)
    : core_(std::move(core)), clock_(clock), events_(events) {}

void VmSide::agreed(const quorum::Slice& frame) {
  const BatchView batch = batchIn(frame);
  verify(batch);
  continuity_.advance(batch);
  const BatchHeader& header = batch.head.header;
  end_ = LogEnd{header.sequence + 1, header.recordBase + header.recordCount,
                header.dataBase + header.dataBytes, header.headerChecksum ^ header.bodyChecksum,
                continuity_.horizon(), continuity_.covered()};
  bytes_ += frame.count;
  if (shipper_) {
    proposer_.waiting -= std::min<size_t>(proposer_.waiting, frame.count);
    shipper_->agreedBefore(*peer_, end_.sequence);
    return;
  }
  sayConsole(batch);
  queue_.push_back(frame);
  queuedBytes_ += frame.count;
}

// What a majority has stored is one log: anything else is a fault of ours, and ends this replica.
void VmSide::verify(const BatchView& batch) const {
  const BatchHeader& header = batch.head.header;
  if (header.sequence != end_.sequence || header.bodyPrevChecksum != end_.checksum) {
    throw CorruptError(format("batch %" PRIu64 " was agreed on where batch %" PRIu64
                              " continues the log", header.sequence, end_.sequence));
  }
  continuity_.check(batch, end_.recordEnd, end_.dataEnd);
}

void VmSide::sayConsole(const BatchView& batch) {
  if (batch.head.header.dataBytes == 0) return;
  std::vector<uint8_t> console;
  joinCharOut(batch, -1, console);
  if (!console.empty()) events_.push(EventKind::console, std::move(console));
}

void VmSide::fill() {
  while (!queue_.empty()) {
    const quorum::Slice& frame = queue_.front();
    if (!core_->filler.fillVerified(batchIn(frame))) return;
    queuedBytes_ -= frame.count;
    queue_.pop_front();
  }
}

void VmSide::lead(ShipOptions options) {
  if (!queue_.empty()) {
    throw RingError("ERR_RING_STATE", "what was agreed on is still to be replayed");
  }
  if (end_.sequence > 0) core_->sealer.continueFrom(end_);
  options.continues(end_);
  // Those who agree are one backup to it, and the log.
  options.acksNeeded = 1;
  options.durable = false;
  options.dataBytesMax = quorum::kEntryBytesMax - (kBatchFrameBytesMax - kBatchDataBytesMax);
  shipper_ = std::make_unique<Shipper>(core_->shm, core_->sealer, core_->bound, clock_, events_,
                                       options, nullptr);
  peer_ = shipper_->peerArrived(&proposer_, nullptr);
}

void VmSide::depose() {
  isDeposed_ = isPaused_ = true;
  if (!shipper_) return;
  shipper_->gate.close();
  shipper_->stop();
  proposer_.proposals.clear();
}

uint64_t VmSide::pump() {
  if (isPaused_) return kNever;
  if (shipper_) return shipper_->next().lookAtNs;
  fill();
  return queue_.empty() ? kNever : clock_.monotonicNs() + kRoomNs;
}

std::vector<quorum::Slice> VmSide::takeProposals() {
  if (isPaused_) return {};
  return std::exchange(proposer_.proposals, {});
}

// QEMU looks at daemon_sleeping after it has published; we look at what it published after
// setting it: one of the two must see the other, so no wake-up is lost.
bool VmSide::maySleep() {
  const uint32_t mode =
      shipper_ ? shipper_->sleepFor() : static_cast<uint32_t>(EXITLOG_SLEEPS_OUTPUTS);
  __atomic_store_n(&core_->shm.header()->daemon_sleeping, mode, __ATOMIC_SEQ_CST);
  fullFence();
  return isPaused_ || !shipper_ || !shipper_->somethingUrgent(mode);
}

void VmSide::awake() {
  storeRelaxed(core_->shm.header()->daemon_sleeping, static_cast<uint32_t>(EXITLOG_AWAKE));
}

void VmSide::tookNotice() const {
  uint64_t count;
  if (read(notifyFd(), &count, sizeof count) < 0) {
    // EAGAIN: somebody else was first
  }
}

void VmSide::tell(Facts& facts) const {
  if (shipper_) shipper_->tell(facts);
  facts.lastEnd = facts.storedEnd = end_.sequence;
  facts.receivedBytes = bytes_;
  facts.empty = queue_.empty() ? 1 : 0;
}

}  // namespace exitlog
