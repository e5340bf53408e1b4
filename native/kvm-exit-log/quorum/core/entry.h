// SPDX-License-Identifier: Apache-2.0
// What replicas agree on, one after the other: an entry is a batch of the exit log, or a
// change of who the replicas are.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <memory>

namespace quorum {

// As libraft's raft_entry_type.
enum class Kind : uint32_t { batch = 1, barrier = 2, change = 3 };

// One entry on the wire, in a file, in memory: checked by every reader, and never copied to
// be checked.
constexpr uint64_t kEntryBytesMax = 1u << 20;

// Bytes that several may look at, for as long as one of them does.
struct Slice {
  std::shared_ptr<const uint8_t> bytes;
  size_t count = 0;

  static Slice copy(const void* from, size_t count) {
    std::shared_ptr<uint8_t> made(new uint8_t[count > 0 ? count : 1], std::default_delete<uint8_t[]>());
    if (count > 0) memcpy(made.get(), from, count);
    return Slice{made, count};
  }
  // A part of it, which keeps all of it.
  Slice part(size_t offset, size_t bytesOf) const {
    return Slice{std::shared_ptr<const uint8_t>(bytes, bytes.get() + offset), bytesOf};
  }
};

struct Entry {
  uint64_t term = 0;
  Kind kind = Kind::batch;
  uint64_t checksum = 0;  // XXH64 of the payload
  Slice payload;
};

}  // namespace quorum
