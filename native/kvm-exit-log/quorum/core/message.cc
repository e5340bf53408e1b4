// SPDX-License-Identifier: Apache-2.0
#include "core/message.h"

#include <cstring>

#include "bits/checksum.h"
#include "bits/peer_error.h"

namespace quorum {

using exitlog::format;
using exitlog::kPeerProtocol;
using exitlog::PeerError;

namespace {

constexpr uint32_t kVersion = 0x31305551;  // "QU01"
constexpr uint32_t kDisrupts = 1;
constexpr uint32_t kIsPreVote = 2;
constexpr uint32_t kIsGranted = 4;
constexpr unsigned char kResultVersion = 2;  // of libraft's results that we write and read
constexpr size_t kServersMax = 64;

[[noreturn]] void wrong(const char* what) {
  throw PeerError(kPeerProtocol, format("a replica's message is none: %s", what));
}

void must(bool holds, const char* what) {
  if (!holds) wrong(what);
}

void fill(PacketHead& head, const raft_message& message) {
  switch (message.type) {
    case RAFT_REQUEST_VOTE: {
      const auto& from = message.request_vote;
      head.term = from.term;
      head.a = from.last_log_index;
      head.b = from.last_log_term;
      head.c = from.candidate_id;
      head.flags = (from.disrupt_leader ? kDisrupts : 0) | (from.pre_vote ? kIsPreVote : 0);
      return;
    }
    case RAFT_REQUEST_VOTE_RESULT: {
      const auto& from = message.request_vote_result;
      head.term = from.term;
      head.flags = (from.vote_granted ? kIsGranted : 0) | (from.pre_vote ? kIsPreVote : 0);
      return;
    }
    case RAFT_APPEND_ENTRIES: {
      const auto& from = message.append_entries;
      head.term = from.term;
      head.a = from.prev_log_index;
      head.b = from.prev_log_term;
      head.c = from.leader_commit;
      return;
    }
    case RAFT_APPEND_ENTRIES_RESULT: {
      const auto& from = message.append_entries_result;
      head.term = from.term;
      head.a = from.rejected;
      head.b = from.last_log_index;
      return;
    }
    case RAFT_TIMEOUT_NOW: {
      const auto& from = message.timeout_now;
      head.term = from.term;
      head.a = from.last_log_index;
      head.b = from.last_log_term;
      return;
    }
    case RAFT_INSTALL_SNAPSHOT:
      break;
  }
  throw std::logic_error("no replica sends that");
}

void read(const PacketHead& head, raft_message& message) {
  const bool isPreVote = (head.flags & kIsPreVote) != 0;
  switch (message.type) {
    case RAFT_REQUEST_VOTE: {
      auto& to = message.request_vote;
      to.version = kResultVersion;
      to.term = head.term;
      to.last_log_index = head.a;
      to.last_log_term = head.b;
      to.candidate_id = head.c;
      to.disrupt_leader = (head.flags & kDisrupts) != 0;
      to.pre_vote = isPreVote;
      must(head.c == head.from, "it asks for another's votes");
      return;
    }
    case RAFT_REQUEST_VOTE_RESULT: {
      auto& to = message.request_vote_result;
      to.version = kResultVersion;
      to.term = head.term;
      to.vote_granted = (head.flags & kIsGranted) != 0;
      to.pre_vote = isPreVote;
      return;
    }
    case RAFT_APPEND_ENTRIES: {
      auto& to = message.append_entries;
      to.term = head.term;
      to.prev_log_index = head.a;
      to.prev_log_term = head.b;
      to.leader_commit = head.c;
      must((head.a == 0) == (head.b == 0) && head.b <= head.term, "an entry before without a term");
      return;
    }
    case RAFT_APPEND_ENTRIES_RESULT: {
      auto& to = message.append_entries_result;
      to.version = kResultVersion;
      to.term = head.term;
      to.rejected = head.a;
      to.last_log_index = head.b;
      return;
    }
    case RAFT_TIMEOUT_NOW: {
      auto& to = message.timeout_now;
      to.term = head.term;
      to.last_log_index = head.a;
      to.last_log_term = head.b;
      return;
    }
    case RAFT_INSTALL_SNAPSHOT:
      break;
  }
  wrong("of no type");
}

}  // namespace

uint64_t Packet::bytes() const {
  uint64_t sum = head.size();
  for (const Slice& payload : payloads) sum += payload.count;
  return sum;
}

Packet encode(const Envelope& envelope, const raft_message& message,
              const std::vector<Entry>& entries) {
  PacketHead head{};
  head.version = kVersion;
  head.type = message.type;
  head.cluster = envelope.cluster;
  head.from = envelope.from;
  head.to = envelope.to;
  head.entries = static_cast<uint32_t>(entries.size());
  fill(head, message);
  Packet packet;
  packet.head.resize(sizeof head + entries.size() * sizeof(PacketEntry));
  uint8_t* at = packet.head.data() + sizeof head;
  for (const Entry& entry : entries) {
    const PacketEntry row{entry.term, entry.checksum, static_cast<uint32_t>(entry.payload.count),
                          static_cast<uint32_t>(entry.kind)};
    memcpy(at, &row, sizeof row);
    at += sizeof row;
    head.payloadBytes += entry.payload.count;
    packet.payloads.push_back(entry.payload);
  }
  memcpy(packet.head.data(), &head, sizeof head);
  head.checksum = exitlog::xxh64(packet.head.data() + 8, packet.head.size() - 8);
  memcpy(packet.head.data(), &head.checksum, sizeof head.checksum);
  return packet;
}

uint64_t tableBytes(const PacketHead& head) {
  must(head.version == kVersion, "of another version");
  must(head.entries <= kEntriesMax, "too many entries");
  must(head.payloadBytes <= head.entries * kEntryBytesMax, "entries that are too long");
  return head.entries * sizeof(PacketEntry);
}

uint64_t packetBytes(const PacketHead& head) {
  return sizeof head + tableBytes(head) + head.payloadBytes;
}

Received decode(const Envelope& wanted, const Slice& packet) {
  PacketHead head{};
  must(packet.count >= sizeof head, "too short");
  memcpy(&head, packet.bytes.get(), sizeof head);
  must(packet.count == packetBytes(head), "of another length");
  const uint64_t headBytes = sizeof head + tableBytes(head);
  must(head.checksum == exitlog::xxh64(packet.bytes.get() + 8, headBytes - 8), "its checksum");
  must(head.cluster == wanted.cluster, "of another VM");
  must(head.to == wanted.to && head.from == wanted.from && head.from != 0, "of another replica");
  must(head.entries == 0 || head.type == RAFT_APPEND_ENTRIES, "entries where none can be");
  must(head.term != 0, "without a term");
  Received received{};
  received.message.type = static_cast<raft_message_type>(head.type);
  received.message.server_id = head.from;
  received.message.server_address = "";
  read(head, received.message);
  uint64_t offset = headBytes;
  uint64_t term = head.b;
  for (uint32_t i = 0; i < head.entries; i++) {
    PacketEntry row{};
    memcpy(&row, packet.bytes.get() + sizeof head + i * sizeof row, sizeof row);
    must(row.bytes <= kEntryBytesMax && row.bytes <= packet.count - offset, "an entry's length");
    must(row.kind >= RAFT_COMMAND && row.kind <= RAFT_CHANGE, "an entry of no kind");
    must(row.term >= term && row.term != 0 && row.term <= head.term, "an entry's term");
    Entry entry{row.term, static_cast<Kind>(row.kind), row.checksum,
                packet.part(offset, row.bytes)};
    must(exitlog::xxh64(entry.payload.bytes.get(), row.bytes) == row.checksum, "an entry's checksum");
    if (entry.kind == Kind::change) checkConfiguration(entry.payload);
    received.entries.push_back(entry);
    offset += row.bytes;
    term = row.term;
  }
  must(offset == packet.count, "of another length");
  return received;
}

// configurationEncodeToBuf of libraft: a byte 1, how many, and of each the id, the address with
// its NUL and a byte for the role.
void checkConfiguration(const Slice& payload) {
  const uint8_t* at = payload.bytes.get();
  const uint8_t* const end = at + payload.count;
  must(payload.count >= 9 && *at == 1, "a configuration of another version");
  uint64_t servers = 0;
  memcpy(&servers, at + 1, sizeof servers);
  at += 9;
  must(servers > 0 && servers <= kServersMax, "a configuration's servers");
  for (uint64_t i = 0; i < servers; i++) {
    must(end - at > 8, "a configuration that ends too soon");
    uint64_t id = 0;
    memcpy(&id, at, sizeof id);
    at += 8;
    const void* nul = memchr(at, 0, static_cast<size_t>(end - at));
    must(id != 0 && nul != nullptr, "a configuration's address");
    at = static_cast<const uint8_t*>(nul) + 1;
    must(at < end && *at <= RAFT_SPARE, "a configuration's role");
    at++;
  }
}

void checkBase(const Base& base) {
  must(base.term != 0 && base.changedAt != 0 && base.changedAt <= base.index, "a checkpoint's base");
  checkConfiguration(base.configuration);
}

}  // namespace quorum
