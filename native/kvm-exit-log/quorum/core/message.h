// SPDX-License-Identifier: Apache-2.0
// libraft's messages as bytes. A follower may get anything: what is not one of ours throws a
// PeerError before libraft, which asserts, sees it.
#pragma once

#include <vector>

#include "core/base.h"
#include "core/entry.h"
#include "core/raft.h"

namespace quorum {

constexpr uint32_t kEntriesMax = 1024;

// Head and table of entries, then the entries' payloads where they are.
struct Packet {
  std::vector<uint8_t> head;
  std::vector<Slice> payloads;
  uint64_t bytes() const;
};

struct PacketHead {
  uint64_t checksum;  // XXH64 of what follows, the table included
  uint32_t version;
  uint32_t type;
  uint64_t cluster;
  uint64_t from;
  uint64_t to;
  uint64_t term;
  uint64_t a;
  uint64_t b;
  uint64_t c;
  uint64_t payloadBytes;
  uint32_t entries;
  uint32_t flags;
};
static_assert(sizeof(PacketHead) == 88, "");

struct PacketEntry {
  uint64_t term;
  uint64_t checksum;
  uint32_t bytes;
  uint32_t kind;
};
static_assert(sizeof(PacketEntry) == 24, "");

struct Envelope {
  uint64_t cluster;
  uint64_t from;
  uint64_t to;
};

// `entries`: of an APPEND_ENTRIES.
Packet encode(const Envelope& envelope, const raft_message& message,
              const std::vector<Entry>& entries);

// How long the table of entries is, and the payloads, of a head that has come.
uint64_t tableBytes(const PacketHead& head);
uint64_t packetBytes(const PacketHead& head);

struct Received {
  raft_message message;
  std::vector<Entry> entries;
};

// All of a packet. Throws PeerError.
Received decode(const Envelope& wanted, const Slice& packet);

// Who the replicas are, as an entry has it; checked, as libraft does not. Throws PeerError.
void checkConfiguration(const Slice& payload);

// What came with a checkpoint. Throws PeerError.
void checkBase(const Base& base);

}  // namespace quorum
