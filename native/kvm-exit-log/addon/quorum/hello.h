// SPDX-License-Identifier: Apache-2.0
// The first frame of a connection between two replicas, either way: which ones, and of what.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

namespace exitlog {

struct ReplicaHello {
  uint64_t checksum;  // XXH64 of what follows
  uint64_t version;
  uint64_t cluster;
  uint64_t from;
  uint64_t to;
};
static_assert(sizeof(ReplicaHello) == 40, "");

// A frame.
std::vector<uint8_t> replicaHello(uint64_t cluster, uint64_t from, uint64_t to);

// Who says it. Throws PeerError for what is none, or is for another replica than `to` of `cluster`.
uint64_t readReplicaHello(const uint8_t* frame, size_t length, uint64_t cluster, uint64_t to);

}  // namespace exitlog
