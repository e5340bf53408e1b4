// SPDX-License-Identifier: Apache-2.0
#include "core/base.h"

#include <algorithm>

#include "bits/checksum.h"
#include "bits/errors.h"

namespace quorum {

using exitlog::CorruptError;

namespace {

constexpr char kName[] = "base";
constexpr uint64_t kMagic = 0x3145534142515530ull;  // "0UQBASE1"

struct BaseHead {
  uint64_t checksum;  // XXH64 of what follows, the configuration included
  uint64_t magic;
  uint64_t cluster;
  uint64_t index;
  uint64_t term;
  uint64_t changedAt;
  uint64_t segment;
  uint64_t firstIndex;
  uint64_t previous;
  uint64_t bytes;  // of the configuration, which follows
};
static_assert(sizeof(BaseHead) == 80, "");

uint64_t checksumOf(const std::vector<uint8_t>& bytes) {
  return exitlog::xxh64(bytes.data() + sizeof(uint64_t), bytes.size() - sizeof(uint64_t));
}

}  // namespace

std::optional<KeptBase> readBase(Files& files, uint64_t cluster) {
  const std::vector<std::string> names = files.list();
  if (std::find(names.begin(), names.end(), kName) == names.end()) return std::nullopt;
  const std::shared_ptr<File> file = files.open(kName);
  BaseHead head{};
  std::vector<uint8_t> bytes(file->size());
  const bool isLong = bytes.size() >= sizeof head && bytes.size() <= sizeof head + kEntryBytesMax;
  if (isLong) {
    file->read(0, bytes.data(), bytes.size());
    memcpy(&head, bytes.data(), sizeof head);
  }
  // It is whole before it has its name.
  if (!isLong || head.magic != kMagic || head.bytes != bytes.size() - sizeof head ||
      head.checksum != checksumOf(bytes)) {
    throw CorruptError("the log's base is damaged. Remove this replica, and add it again empty");
  }
  if (head.cluster != cluster) throw CorruptError("the log's base is another VM's");
  return KeptBase{Base{head.index, head.term, head.changedAt,
                       Slice::copy(bytes.data() + sizeof head, head.bytes)},
                  head.segment, head.firstIndex, head.previous};
}

void writeBase(Files& files, uint64_t cluster, const KeptBase& kept) {
  const Base& base = kept.base;
  BaseHead head{0,            kMagic,          cluster,       base.index,
                base.term,    base.changedAt,  kept.segment,  kept.firstIndex,
                kept.previous, base.configuration.count};
  std::vector<uint8_t> bytes(sizeof head + head.bytes);
  memcpy(bytes.data(), &head, sizeof head);
  memcpy(bytes.data() + sizeof head, base.configuration.bytes.get(), head.bytes);
  head.checksum = checksumOf(bytes);
  memcpy(bytes.data(), &head.checksum, sizeof head.checksum);
  const std::string made = std::string(kName) + ".new";
  const std::shared_ptr<File> file = files.create(made);
  file->write(0, bytes.data(), bytes.size());
  file->sync();
  files.rename(made, kName);
  files.syncNames();
}

void TrimJob::run() const {
  writeBase(*files, cluster, kept);
  for (const std::string& name : dropped) files->remove(name);
}

}  // namespace quorum
