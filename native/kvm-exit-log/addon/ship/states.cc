// SPDX-License-Identifier: Apache-2.0
#include "ship/states.h"

#include <cstring>

#include "state/piece.h"

namespace exitlog {

bool States::next(Frame& frame) {
  StateRing::Piece taken{};
  if (hasEnded_ || !ring_.next(taken)) return false;
  const struct exitlog_piece& head = taken.head;
  const Piece piece{ordinal_++, head.part, head.offset, head.bytes, taken.data, head.epoch};
  const uint64_t stored = taken.data == nullptr ? 0 : head.bytes;
  frame_.resize(sizeof(StateHead) + paddedTo8(stored));
  if (stored > 0) memcpy(frame_.data() + sizeof(StateHead), taken.data, stored);
  frame = Frame{frame_.data(), sealPiece(frame_.data(), piece)};
  hasEnded_ = head.part == EXITLOG_PART_END;
  return true;
}

bool States::isFilling() const {
  const Shm::State& ring = shm_.state();
  if (ring.bytes == 0 || hasEnded_) return false;
  const uint64_t there = loadAcquire(ring.cursors->head) - loadRelaxed(ring.cursors->tail);
  return there > ring.bytes / 2;
}

}  // namespace exitlog
