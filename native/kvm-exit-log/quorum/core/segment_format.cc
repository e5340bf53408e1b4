// SPDX-License-Identifier: Apache-2.0
#include "core/segment_format.h"

#include <algorithm>
#include <cstdlib>
#include <cstring>

#include "bits/checksum.h"
#include "bits/errors.h"
#include "core/base.h"

namespace quorum {

using exitlog::CorruptError;

namespace {

constexpr uint64_t kMagic = 0x31474f4c51535530ull;  // "0USQLOG1"
constexpr uint64_t kReadBytes = 256u << 10;
constexpr char kSuffix[] = ".uql";

template <class Head>
uint64_t checksumBehind(const Head& head) {
  return exitlog::xxh64(reinterpret_cast<const uint8_t*>(&head) + sizeof head.checksum,
                        sizeof head - sizeof head.checksum);
}

constexpr char kBase[] = "base";
constexpr uint64_t kBaseMagic = 0x3145534142515530ull;  // "0UQBASE1"

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

uint64_t checksumOf(const SegmentHeader& header) { return checksumBehind(header); }
uint64_t checksumOf(const EntryHead& head) { return checksumBehind(head); }

SegmentHeader segmentHeader(uint64_t cluster, uint64_t number, uint64_t firstIndex,
                            uint64_t previous) {
  SegmentHeader header{0, kMagic, cluster, number, firstIndex, previous, {0, 0}};
  header.checksum = checksumOf(header);
  return header;
}

std::string segmentName(uint64_t number) {
  return exitlog::format("%06llu%s", static_cast<unsigned long long>(number), kSuffix);
}

std::vector<uint64_t> segmentNumbers(Files& files) {
  std::vector<uint64_t> numbers;
  for (const std::string& name : files.list()) {
    char* end = nullptr;
    const uint64_t number = strtoull(name.c_str(), &end, 10);
    if (end != name.c_str() && strcmp(end, kSuffix) == 0) numbers.push_back(number);
  }
  std::sort(numbers.begin(), numbers.end());
  return numbers;
}

const uint8_t* SegmentReader::at(uint64_t offset, uint64_t bytes) {
  if (offset > size_ || bytes > size_ - offset) return nullptr;
  if (offset < bufferAt_ || offset + bytes > bufferAt_ + buffer_.size()) {
    buffer_.resize(std::min(std::max(bytes, kReadBytes), size_ - offset));
    bufferAt_ = offset;
    file_->read(offset, buffer_.data(), buffer_.size());
  }
  return buffer_.data() + (offset - bufferAt_);
}

bool SegmentReader::header(SegmentHeader& header) {
  const uint8_t* bytes = at(0, sizeof header);
  if (bytes == nullptr) return false;
  memcpy(&header, bytes, sizeof header);
  return header.checksum == checksumOf(header) && header.magic == kMagic;
}

bool SegmentReader::head(uint64_t offset, EntryHead& head) {
  const uint8_t* bytes = at(offset, sizeof head);
  if (bytes == nullptr) return false;
  memcpy(&head, bytes, sizeof head);
  return head.index != 0 && head.bytes <= kEntryBytesMax && head.checksum == checksumOf(head);
}

bool SegmentReader::payload(uint64_t offset, const EntryHead& head, Slice& payload) {
  const uint8_t* bytes = at(offset + sizeof head, paddedBytes(head.bytes));
  if (bytes == nullptr || exitlog::xxh64(bytes, head.bytes) != head.payloadChecksum) return false;
  payload = Slice::copy(bytes, head.bytes);
  return true;
}

uint64_t SegmentReader::syncedBehind(uint64_t offset) {
  uint64_t most = 0;
  for (EntryHead found{}; offset + sizeof found <= size_; offset += 8) {
    if (head(offset, found)) most = std::max(most, found.synced);
  }
  return most;
}

std::optional<KeptBase> readBase(Files& files, uint64_t cluster) {
  const std::vector<std::string> names = files.list();
  if (std::find(names.begin(), names.end(), kBase) == names.end()) return std::nullopt;
  const std::shared_ptr<File> file = files.open(kBase);
  BaseHead head{};
  std::vector<uint8_t> bytes(file->size());
  const bool isLong = bytes.size() >= sizeof head && bytes.size() <= sizeof head + kEntryBytesMax;
  if (isLong) {
    file->read(0, bytes.data(), bytes.size());
    memcpy(&head, bytes.data(), sizeof head);
  }
  // It is whole before it has its name.
  if (!isLong || head.magic != kBaseMagic || head.bytes != bytes.size() - sizeof head ||
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
  BaseHead head{0,            kBaseMagic,          cluster,       base.index,
                base.term,    base.changedAt,  kept.segment,  kept.firstIndex,
                kept.previous, base.configuration.count};
  std::vector<uint8_t> bytes(sizeof head + head.bytes);
  memcpy(bytes.data(), &head, sizeof head);
  memcpy(bytes.data() + sizeof head, base.configuration.bytes.get(), head.bytes);
  head.checksum = checksumOf(bytes);
  memcpy(bytes.data(), &head.checksum, sizeof head.checksum);
  const std::string made = std::string(kBase) + ".new";
  const std::shared_ptr<File> file = files.create(made);
  file->write(0, bytes.data(), bytes.size());
  file->sync();
  files.rename(made, kBase);
  files.syncNames();
}

void TrimJob::run() const {
  writeBase(*files, cluster, kept);
  for (const std::string& name : dropped) files->remove(name);
}

}  // namespace quorum
