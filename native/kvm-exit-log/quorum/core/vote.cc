// SPDX-License-Identifier: Apache-2.0
#include "core/vote.h"

#include <algorithm>

#include "bits/checksum.h"
#include "bits/errors.h"

namespace quorum {

using exitlog::CorruptError;

namespace {

constexpr char kName[] = "vote";
constexpr uint64_t kMagic = 0x314554304651ull;  // "QF0TE1"
// Written in turns, a sector each: one that is torn leaves the other.
constexpr uint64_t kSlotBytes = 4096;

struct Slot {
  uint64_t checksum;
  uint64_t magic;
  uint64_t cluster;
  uint64_t id;
  uint64_t generation;
  uint64_t term;
  uint64_t votedFor;
  uint64_t boot;
};

uint64_t checksumOf(const Slot& slot) {
  return exitlog::xxh64(reinterpret_cast<const uint8_t*>(&slot) + sizeof slot.checksum,
                        sizeof slot - sizeof slot.checksum);
}

}  // namespace

VoteFile::VoteFile(Files& files, uint64_t cluster, uint64_t id)
    : files_(files), cluster_(cluster), id_(id) {
  const std::vector<std::string> names = files.list();
  if (std::find(names.begin(), names.end(), kName) == names.end()) return;
  file_ = files.open(kName);
  const uint64_t size = file_->size();
  Slot newest{};
  for (uint64_t i = 0; i < 2; i++) {
    Slot slot{};
    if (size < i * kSlotBytes + sizeof slot) continue;
    file_->read(i * kSlotBytes, &slot, sizeof slot);
    if (slot.checksum != checksumOf(slot) || slot.magic != kMagic) continue;
    if (slot.cluster != cluster || slot.id != id) {
      throw CorruptError("the vote is of another replica: its folder was moved or is shared");
    }
    if (slot.generation < generation_) continue;
    newest = slot;
    generation_ = slot.generation;
    vote_ = Vote{slot.term, slot.votedFor};
    boot_ = slot.boot;
  }
  // Its first write is whole before it has its name.
  if (generation_ == 0) throw CorruptError("the vote cannot be read: both its copies are damaged");
  // A sync of it that failed leaves in the page cache what is not on the disk, and looks as if it
  // were. In its own slot: the other one is what counts if this is torn.
  put(newest.generation, &newest, sizeof newest);
}

void VoteFile::put(uint64_t generation, const void* slot, size_t bytes) {
  file_->write(generation % 2 * kSlotBytes, slot, bytes);
  file_->sync();
}

void VoteFile::write(const Vote& vote, uint64_t boot) {
  Slot slot{0, kMagic, cluster_, id_, generation_ + 1, vote.term, vote.votedFor, boot};
  slot.checksum = checksumOf(slot);
  if (file_ == nullptr) {
    const std::string made = std::string(kName) + ".new";
    file_ = files_.create(made);
    // Both slots, so that no later write makes the file longer.
    const std::vector<uint8_t> zeros(2 * kSlotBytes);
    file_->write(0, zeros.data(), zeros.size());
    put(slot.generation, &slot, sizeof slot);
    files_.rename(made, kName);
    files_.syncNames();
  } else {
    put(slot.generation, &slot, sizeof slot);
  }
  generation_ = slot.generation;
  vote_ = vote;
  boot_ = boot;
}

}  // namespace quorum
