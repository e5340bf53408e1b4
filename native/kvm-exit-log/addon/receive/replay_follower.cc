// SPDX-License-Identifier: Apache-2.0
#include "receive/replay_follower.h"

#include <cinttypes>

#include "bits/errors.h"
#include "bits/peer_error.h"

namespace exitlog {

void ReplayFollower::checkStart(uint64_t recordEnd, uint64_t dataEnd) const {
  if (filler_.isAt(recordEnd, dataEnd)) return;
  throw RingError("ERR_RING_STATE", format("the replay ring does not start at record %" PRIu64
                                           " and data %" PRIu64, recordEnd, dataEnd));
}

bool ReplayFollower::isWhole(const BatchView& batch) {
  const BatchHeader& header = batch.head.header;
  const Shm::Ring& in = shm_.in();
  if (header.recordCount <= in.slots && header.dataBytes <= in.dataBytes) return true;
  throw PeerError(kPeerProtocol, format("the primary sent batch %" PRIu64
                                        ", which can never fit the replay ring",
                                        header.sequence));
}

void ReplayFollower::takeState(const uint8_t*, size_t) {
  throw PeerError(kPeerProtocol, "the primary sent state to a backup that executes the log");
}

Position ReplayFollower::executed(Position) const {
  const struct exitlog_shm* shm = shm_.header();
  return Position{loadRelaxed(shm->icount), loadRelaxed(shm->vtime_ns)};
}

}  // namespace exitlog
