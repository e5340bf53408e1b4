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

// Room for pages that the backup is known to have.
constexpr uint64_t kShadowBytesMax = 64u << 20;

}  // namespace

States::States(const Shm& shm) : shm_(shm), ring_(shm), patches_(kShadowBytesMax) {}

void States::keep(const std::string& dir) {
  spool_ = std::make_unique<Spool>(dir);
  lost_.clear();
  hasBegun_ = hasEnded_ = isSealed_ = false;
  forgetBackup();
}

// There is none, or it has nothing.
void States::forgetBackup() {
  patches_.forget();
  devices_.forget();
}

void States::begin() {
  hasBegun_ = true;
  ordinal_ = 0;
  page_ = 0;
  forgetBackup();
}

// The next frame of this epoch. False: there is none yet, or it has ended.
bool States::next() {
  StateRing::Piece taken{};
  while (!hasEnded_) {
    if (!ring_.peek(taken)) return sealGathered();
    if (taken.head.part == EXITLOG_PART_BEGIN) begin();
    else if (hasBegun_ && gather(taken)) return true;
    ring_.pop();
  }
  return false;
}

// @returns whether there is a frame; if so, and it is none of this piece, that comes again
bool States::gather(const StateRing::Piece& taken) {
  if (taken.data != nullptr && Patches::isOfPages(taken.head)) {
    page_ = patches_.add(taken.head, taken.data, page_);
    if (page_ < taken.head.bytes / kPageBytes) return sealGathered();
    sent_.pages += page_;
    page_ = 0;
    return false;
  }
  if (sealGathered()) return true;
  sealOne(taken);
  ring_.pop();
  return true;
}

bool States::sealGathered() {
  Piece piece{};
  if (!patches_.take(piece)) return false;
  piece.ordinal = ordinal_++;
  uint8_t* frame = patches_.frame();
  if (isSlow_) {
    pack(piece);
    if (piece.isPacked) frame = buffer_.data();
  }
  frame_ = frame;
  frameBytes_ = sealPiece(frame, piece);
  sent_.memoryBytes += frameBytes_;
  isOfDisk_ = false;
  return true;
}

void States::pack(Piece& piece) {
  buffer_.resize(sizeof(StateHead) + paddedTo8(piece.patchBytes));
  uint8_t* to = buffer_.data() + sizeof(StateHead);
  const uint64_t packed = packer_.pack(piece.data, piece.patchBytes, to);
  if (packed == 0) return;
  piece.data = to;
  piece.patchBytes = packed;
  piece.isPacked = true;
}

void States::sealOne(const StateRing::Piece& taken) {
  const struct exitlog_piece& head = taken.head;
  Piece piece{ordinal_++, head.part, head.offset, head.bytes, taken.data, head.epoch};
  if (head.part == EXITLOG_PART_DEVICES && piece.data != nullptr) devices_.reduce(piece);
  const uint64_t stored = piece.dataBytes();
  buffer_.resize(sizeof(StateHead) + paddedTo8(stored));
  if (stored > 0) memcpy(buffer_.data() + sizeof(StateHead), piece.data, stored);
  frame_ = buffer_.data();
  frameBytes_ = sealPiece(buffer_.data(), piece);
  hasEnded_ = head.part == EXITLOG_PART_END;
  isOfDisk_ = head.part == EXITLOG_PART_REFERENCES || head.part >= EXITLOG_PART_DISK;
  if (!Patches::isOfPages(head)) return;
  patches_.zero(head);
  sent_.pages += head.bytes / kPageBytes;
  sent_.memoryBytes += frameBytes_;
}

// Nobody is there who would take it, nor will be.
void States::skip() {
  StateRing::Piece taken{};
  forgetBackup();
  while (ring_.peek(taken)) {
    if (taken.head.part == EXITLOG_PART_BEGIN) begin();
    else ordinal_++;
    ring_.pop();
  }
  page_ = 0;
  hasEnded_ = false;  // nobody waits for its batch
}

void States::put(Outlet* to) {
  sent_.bytes += frameBytes_;
  if (isOfDisk_) sent_.diskBytes += frameBytes_;
  if (to != nullptr) return to->begin(frame_, frameBytes_);
  if (!spool_) return;
  try {
    spool_->append(frame_, frameBytes_);
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
bool States::drainSpool(Outlet* to) {
  if (!isBehind(to)) return true;
  const uint8_t* bytes = nullptr;
  uint64_t count = 0;
  for (;;) {
    if (to->queuedBytes() > kQueueBytesHigh) return false;
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
  if (to == nullptr && !spool_) return skip();
  if (!drainSpool(to)) return;
  while (hasRoom(to) && next()) put(to);
}

// Also looks how it does: with the next frame it may be another way.
bool States::hasRoom(const Outlet* to) {
  isSlow_ = to != nullptr && to->isSlow();
  return to == nullptr || to->queuedBytes() <= kQueueBytesHigh;
}

void States::finish(Outlet* to) {
  isSealed_ = true;
  if (to == nullptr && !spool_) return skip();
  for (hasRoom(to); next(); hasRoom(to)) put(to);
}

States::Sent States::sent() const {
  Sent sent = sent_;
  sent.shadowBytes = patches_.shadowBytes();
  return sent;
}

bool States::isFilling() const {
  const Shm::State& ring = shm_.state();
  if (ring.bytes == 0 || hasEnded_) return false;
  const uint64_t there = loadAcquire(ring.cursors->head) - loadRelaxed(ring.cursors->tail);
  return there > ring.bytes / 2;
}

}  // namespace exitlog
