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

bool stateIsFull(const Shm& shm) {
  const Shm::State& ring = shm.state();
  const uint64_t there = loadAcquire(ring.cursors->head) - loadAcquire(ring.cursors->tail);
  return there > 0 && there + sizeof(struct exitlog_piece) + EXITLOG_PIECE_BYTES_MAX > ring.bytes;
}

bool StateRing::peek(Piece& piece) {
  const Shm::State& ring = shm_.state();
  if (ring.bytes == 0) return false;
  if (seenBytes_ == 0 && !look(ring)) return false;
  piece = seen_;
  return true;
}

bool StateRing::look(const Shm::State& ring) {
  struct exitlog_piece& head = seen_.head;
  const uint64_t tail = loadRelaxed(ring.cursors->tail);
  const uint64_t there = loadAcquire(ring.cursors->head) - tail;
  if (there == 0) return false;
  if (there > ring.bytes || there < sizeof head) {
    broken(format("it holds %llu bytes", static_cast<unsigned long long>(there)));
  }
  ring.copyOut(tail, sizeof head, &head);
  const bool hasData = (head.flags & EXITLOG_PIECE_DATA) != 0;
  const uint64_t bytes = hasData ? head.bytes : 0;
  if (bytes > EXITLOG_PIECE_BYTES_MAX || sizeof head + paddedTo8(bytes) > there) {
    broken(format("a piece of %llu bytes", static_cast<unsigned long long>(bytes)));
  }
  const uint64_t at = (tail + sizeof head) & (ring.bytes - 1);
  const bool isStraight = bytes <= ring.bytes - at;
  if (!isStraight) {
    data_.resize(bytes);
    ring.copyOut(tail + sizeof head, bytes, data_.data());
  }
  seen_.data = !hasData ? nullptr : isStraight ? ring.data + at : data_.data();
  seenBytes_ = sizeof head + paddedTo8(bytes);
  return true;
}

void StateRing::pop() {
  const Shm::State& ring = shm_.state();
  storeRelease(ring.cursors->tail, loadRelaxed(ring.cursors->tail) + seenBytes_);
  seenBytes_ = 0;
  shm_.wakeVcpu();
}

}  // namespace exitlog
