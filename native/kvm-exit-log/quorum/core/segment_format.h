// SPDX-License-Identifier: Apache-2.0
// A segment file of a replica's log: a header, then entries, each with a head before it.
// docs/quorum.md has the format.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "core/entry.h"
#include "core/files.h"

namespace quorum {

struct SegmentHeader {
  uint64_t checksum;  // XXH64 of what follows
  uint64_t magic;
  uint64_t cluster;
  uint64_t number;
  uint64_t firstIndex;
  uint64_t previous;  // as an EntryHead's
  uint64_t zero[2];
};
static_assert(sizeof(SegmentHeader) == 64, "");

struct EntryHead {
  uint64_t checksum;  // XXH64 of what follows, up to the payload
  uint64_t previous;  // the checksum of the head before: heads are a chain
  uint64_t index;
  uint64_t term;
  // Entries up to this one were on the disk when this one was written. What is damaged and was
  // on the disk is no torn end, and nobody may take it for one.
  uint64_t synced;
  uint64_t payloadChecksum;
  uint32_t bytes;
  uint32_t kind;
};
static_assert(sizeof(EntryHead) == 56, "");

inline uint64_t paddedBytes(uint64_t bytes) { return (bytes + 7) & ~uint64_t{7}; }
inline uint64_t storedBytes(uint64_t payload) { return sizeof(EntryHead) + paddedBytes(payload); }

uint64_t checksumOf(const SegmentHeader& header);
uint64_t checksumOf(const EntryHead& head);
SegmentHeader segmentHeader(uint64_t cluster, uint64_t number, uint64_t firstIndex,
                            uint64_t previous);

std::string segmentName(uint64_t number);
// Their numbers, in order.
std::vector<uint64_t> segmentNumbers(Files& files);

// A segment read from its front, with a buffer.
class SegmentReader {
 public:
  explicit SegmentReader(std::shared_ptr<File> file) : file_(std::move(file)), size_(file_->size()) {}
  uint64_t size() const { return size_; }
  bool header(SegmentHeader& header);
  // False: no whole head there that is valid by itself.
  bool head(uint64_t offset, EntryHead& head);
  // False: the payload is not all there, or another one.
  bool payload(uint64_t offset, const EntryHead& head, Slice& payload);
  // The highest `synced` of any head from an offset on, whatever is between them.
  uint64_t syncedBehind(uint64_t offset);

 private:
  const uint8_t* at(uint64_t offset, uint64_t bytes);
  std::shared_ptr<File> file_;
  const uint64_t size_;
  std::vector<uint8_t> buffer_;
  uint64_t bufferAt_ = 0;
};

}  // namespace quorum
