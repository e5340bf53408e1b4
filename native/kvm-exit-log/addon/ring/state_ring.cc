// SPDX-License-Identifier: Apache-2.0
#include "ring/state_ring.h"

#include "bits/errors.h"
#include "bits/layout.h"

namespace exitlog {

namespace {

[[noreturn]] void broken(const std::string& what) {
  throw RingError("ERR_RING_CORRUPT", "QEMU broke the rules of the ring of state: " + what);
}

}  // namespace

bool StateRing::next(Piece& piece) {
  const Shm::State& ring = shm_.state();
  if (ring.bytes == 0) return false;
  const uint64_t tail = loadRelaxed(ring.cursors->tail);
  const uint64_t there = loadAcquire(ring.cursors->head) - tail;
  if (there == 0) return false;
  if (there > ring.bytes || there < sizeof piece.head) {
    broken(format("it holds %llu bytes", static_cast<unsigned long long>(there)));
  }
  ring.copyOut(tail, sizeof piece.head, &piece.head);
  const bool hasData = (piece.head.flags & EXITLOG_PIECE_DATA) != 0;
  const uint64_t bytes = hasData ? piece.head.bytes : 0;
  if (bytes > EXITLOG_PIECE_BYTES_MAX || sizeof piece.head + paddedTo8(bytes) > there) {
    broken(format("a piece of %llu bytes", static_cast<unsigned long long>(bytes)));
  }
  data_.resize(bytes);
  ring.copyOut(tail + sizeof piece.head, bytes, data_.data());
  piece.data = hasData ? data_.data() : nullptr;
  storeRelease(ring.cursors->tail, tail + sizeof piece.head + paddedTo8(bytes));
  shm_.wakeVcpu();
  return true;
}

bool stateIsFull(const Shm& shm) {
  const Shm::State& ring = shm.state();
  const uint64_t there = loadAcquire(ring.cursors->head) - loadAcquire(ring.cursors->tail);
  return there > 0 && there + sizeof(struct exitlog_piece) + EXITLOG_PIECE_BYTES_MAX > ring.bytes;
}

}  // namespace exitlog
