// SPDX-License-Identifier: Apache-2.0
#include "ship/states.h"

#include <cstring>
#include <system_error>

#include "bits/errors.h"
#include "bits/peer_error.h"
#include "state/piece.h"

namespace exitlog {

namespace {

// More is left in the ring until the backup has read most of it.
constexpr size_t kQueueBytesHigh = 4u << 20;

}  // namespace

void States::keep(const std::string& dir) {
  spool_ = std::make_unique<Spool>(dir);
  lost_.clear();
  hasBegun_ = hasEnded_ = isSealed_ = false;
}

// The next frame of this epoch. False: there is none yet, or it has ended.
bool States::next() {
  StateRing::Piece taken{};
  for (;;) {
    if (hasEnded_ || !ring_.next(taken)) return false;
    const struct exitlog_piece& head = taken.head;
    if (head.part == EXITLOG_PART_BEGIN) {
      hasBegun_ = true;
      ordinal_ = 0;
      continue;
    }
    if (!hasBegun_) continue;
    const Piece piece{ordinal_++, head.part, head.offset, head.bytes, taken.data, head.epoch};
    const uint64_t stored = taken.data == nullptr ? 0 : head.bytes;
    frame_.resize(sizeof(StateHead) + paddedTo8(stored));
    if (stored > 0) memcpy(frame_.data() + sizeof(StateHead), taken.data, stored);
    frameBytes_ = sealPiece(frame_.data(), piece);
    isOfDisk_ = head.part == EXITLOG_PART_REFERENCES || head.part >= EXITLOG_PART_DISK;
    hasEnded_ = head.part == EXITLOG_PART_END;
    return true;
  }
}

void States::put(Outlet* to) {
  if (to != nullptr || spool_) {
    bytes_ += frameBytes_;
    diskBytes_ += isOfDisk_ ? frameBytes_ : 0;
  }
  if (to != nullptr) return to->send(frame_.data(), frameBytes_);
  if (!spool_) return;
  try {
    spool_->append(frame_.data(), frameBytes_);
  } catch (const std::system_error& error) {
    // The VM runs on: it is the join that cannot go on.
    lost_ = error.what();
    spool_.reset();
  }
}

void States::checkKept() const {
  if (!lost_.empty()) throw RingError("ERR_RING_STATE", lost_);
}

// @returns true: nothing is left in it
bool States::drainSpool(Outlet* to, bool all) {
  if (!spool_ || to == nullptr) return true;
  const uint8_t* bytes = nullptr;
  uint64_t count = 0;
  for (;;) {
    if (!all && to->queuedBytes() > kQueueBytesHigh) return false;
    try {
      if (!spool_->next(bytes, count)) break;
    } catch (const std::system_error& error) {
      throw PeerError(kPeerLost, error.what());
    }
    to->send(bytes, count);
  }
  spool_.reset();
  return true;
}

void States::pump(Outlet* to, bool isSent) {
  if (isSealed_ && isSent) hasEnded_ = isSealed_ = false;
  if (!drainSpool(to, false)) return;
  while ((to == nullptr || to->queuedBytes() <= kQueueBytesHigh) && next()) {
    put(to);
    if (hasEnded_ && to == nullptr && !spool_) hasEnded_ = false;  // nobody waits for its batch
  }
}

void States::finish(Outlet* to) {
  drainSpool(to, true);
  while (next()) put(to);
  isSealed_ = true;
}

void States::tell(Facts& facts) const {
  facts.stateBytes = bytes_;
  facts.diskBytes = diskBytes_;
}

bool States::isFilling() const {
  const Shm::State& ring = shm_.state();
  if (ring.bytes == 0 || hasEnded_) return false;
  const uint64_t there = loadAcquire(ring.cursors->head) - loadRelaxed(ring.cursors->tail);
  return there > ring.bytes / 2;
}

}  // namespace exitlog
