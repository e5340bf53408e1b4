// SPDX-License-Identifier: Apache-2.0
#include "fuzz.h"

#include <time.h>

#include <algorithm>
#include <cstdio>
#include <cstring>

#include "bits/checksum.h"
#include "bits/errors.h"
#include "bits/peer_error.h"

namespace exitlog {

namespace {

template <class Word>
Word wordAt(const std::vector<uint8_t>& bytes, size_t at) {
  Word word;
  memcpy(&word, bytes.data() + at, sizeof word);
  return word;
}

template <class Word>
void putWord(std::vector<uint8_t>& bytes, size_t at, Word word) {
  memcpy(bytes.data() + at, &word, sizeof word);
}

constexpr size_t kChecksumAt = sizeof(FramePrefix) + 16;

// For one input, with the sanitizers. CPU time: what else the host does makes nothing slow.
constexpr uint64_t kInputCpuNsMax = 2000000000;

uint64_t cpuNs() {
  struct timespec now {};
  clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
  return static_cast<uint64_t>(now.tv_sec) * 1000000000 + static_cast<uint64_t>(now.tv_nsec);
}

}  // namespace

uint64_t Input::number(unsigned bytes) {
  uint64_t value = 0;
  for (unsigned i = 0; i < bytes && at_ != end_; i++) value |= uint64_t{*at_++} << (8 * i);
  return value;
}

uint64_t Input::edge(uint64_t near) {
  const uint8_t how = byte();
  switch (how % 8) {
    case 0: return number(8);
    case 1: return near + how / 8;
    case 2: return near - how / 8;
    case 3: return UINT64_MAX - how / 8;
    case 4: return uint64_t{1} << (how / 8 * 2);
    case 5: return number(2);
    default: return near;
  }
}

std::vector<uint8_t> Input::bytes(uint64_t most) {
  const size_t count = std::min<size_t>(upTo(most), static_cast<size_t>(end_ - at_));
  std::vector<uint8_t> some(at_, at_ + count);
  at_ += count;
  return some;
}

std::vector<uint8_t> Input::rest() {
  std::vector<uint8_t> some(at_, end_);
  at_ = end_;
  return some;
}

Exact::Exact(const std::vector<uint8_t>& bytes)
    : size_(bytes.size()), bytes_(new uint8_t[bytes.size()]) {
  if (size_ > 0) memcpy(bytes_.get(), bytes.data(), size_);
}

void sealPrefix(std::vector<uint8_t>& frame, uint16_t type) {
  if (frame.size() < sizeof(FramePrefix)) frame.resize(sizeof(FramePrefix));
  const auto bodyBytes = static_cast<uint32_t>(frame.size() - sizeof(FramePrefix));
  FramePrefix prefix{kFrameMagic, type, 0, bodyBytes, 0};
  prefix.crc = crc32(&prefix, offsetof(FramePrefix, crc));
  putWord(frame, 0, prefix);
}

void sealControl(std::vector<uint8_t>& frame, uint16_t type) {
  frame.resize(std::max<size_t>(paddedTo8(frame.size()), kChecksumAt + 8));
  sealPrefix(frame, type);
  const size_t bodyBytes = frame.size() - sizeof(FramePrefix);
  putWord(frame, sizeof(FramePrefix), segmentTable(bodyBytes));
  putWord(frame, kChecksumAt, controlChecksum(frame.data() + sizeof(FramePrefix), bodyBytes));
}

void sealBatch(std::vector<uint8_t>& frame, bool sealsShape) {
  constexpr size_t kHead = sizeof(FramePrefix) + sizeof(BatchHead);
  frame.resize(std::max<size_t>(paddedTo8(frame.size()), kHead));
  sealPrefix(frame, kFrameBatch);
  BatchHead head = wordAt<BatchHead>(frame, sizeof(FramePrefix));
  BatchHeader& header = head.header;
  const size_t bodyBytes = frame.size() - sizeof(FramePrefix);
  if (sealsShape) {
    const uint64_t room = frame.size() - kHead;
    header.logVersion = kLogVersion;
    header.flags = 0;
    header.recordCount = static_cast<uint32_t>(
        std::min<uint64_t>({header.recordCount, room / sizeof(struct exitlog_record),
                            kBatchRecordsMax}));
    header.dataBytes =
        static_cast<uint32_t>(room - header.recordCount * sizeof(struct exitlog_record));
    header.dataBase &= ~uint64_t{7};
    head.segmentTable = segmentTable(bodyBytes);
    head.rootPointer = kRootPointer;
    head.recordsPointer = recordsPointer(header.recordCount);
    head.dataPointer = dataPointer(header.recordCount, header.dataBytes);
    head.recordsTag = recordsTag(header.recordCount);
    struct exitlog_record record;
    header.firstIcount = header.lastIcount = header.horizonIcount;
    if (header.recordCount > 0) {
      header.firstIcount = wordAt<struct exitlog_record>(frame, kHead).icount;
      header.lastIcount =
          wordAt<struct exitlog_record>(frame, kHead + (header.recordCount - 1) * sizeof record)
              .icount;
    }
  }
  putWord(frame, sizeof(FramePrefix), head);
  header.bodyChecksum =
      xxh64(frame.data() + sizeof(FramePrefix) + kTagOffset, bodyBytes - kTagOffset);
  header.headerChecksum = batchHeaderChecksum(head);
  putWord(frame, sizeof(FramePrefix), head);
}

void touch(const void* bytes, size_t count) {
  static volatile uint8_t sum;
  const auto* byte = static_cast<const uint8_t*>(bytes);
  for (size_t i = 0; i < count; i++) sum = static_cast<uint8_t>(sum + byte[i]);
}

}  // namespace exitlog

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* bytes, size_t count) {
  // For a test: that what is found is told.
  static const bool isPlanted = getenv("UNDERSTUDY_FUZZ_PLANTED") != nullptr;
  if (isPlanted) exitlog::must(false);
  exitlog::Input in(bytes, count);
  const uint64_t from = exitlog::cpuNs();
  try {
    exitlog::fuzz(in);
  } catch (const exitlog::CorruptError&) {
  } catch (const exitlog::PeerError&) {
  }
  const uint64_t took = exitlog::cpuNs() - from;
  if (took > exitlog::kInputCpuNsMax) {
    fprintf(stderr, "it took %llu ms of CPU\n", static_cast<unsigned long long>(took / 1000000));
    exitlog::must(false);
  }
  return 0;
}
