// SPDX-License-Identifier: Apache-2.0
#include "image/references.h"

#include <algorithm>
#include <cstring>

namespace exitlog {

namespace {

constexpr uint64_t kPageBytes = 4096;
constexpr uint8_t kZeros[kPageBytes] = {};

}  // namespace

std::vector<struct exitlog_reference> referencesIn(const uint8_t* data, uint64_t bytes) {
  std::vector<struct exitlog_reference> all(bytes / sizeof(struct exitlog_reference));
  if (!all.empty()) memcpy(all.data(), data, all.size() * sizeof all[0]);
  return all;
}

void MemoryAfter::need(const struct exitlog_reference& reference, const uint8_t* now) {
  const uint64_t end = reference.at + reference.bytes;
  for (uint64_t page = reference.at / kPageBytes; page * kPageBytes < end; page++) {
    pages_.push_back(Page{reference.block, page, now + page * kPageBytes, nullptr});
  }
}

void MemoryAfter::seal() {
  std::sort(pages_.begin(), pages_.end(), isBefore);
  const auto isSame = [](const Page& a, const Page& b) { return !isBefore(a, b); };
  pages_.erase(std::unique(pages_.begin(), pages_.end(), isSame), pages_.end());
}

void MemoryAfter::change(uint64_t block, uint64_t offset, uint64_t bytes, const uint8_t* data) {
  const Page first{block, offset / kPageBytes, nullptr, nullptr};
  const Page end{block, (offset + bytes) / kPageBytes, nullptr, nullptr};
  auto page = std::lower_bound(pages_.begin(), pages_.end(), first, isBefore);
  for (; page != pages_.end() && isBefore(*page, end); ++page) {
    page->data = data == nullptr ? kZeros : data + (page->number - first.number) * kPageBytes;
    page->copy = nullptr;
  }
}

void MemoryAfter::patch(uint64_t block, uint64_t offset, uint64_t bytes, const uint8_t* data) {
  const uint64_t end = offset + bytes;
  const Page first{block, offset / kPageBytes, nullptr, nullptr};
  auto page = std::lower_bound(pages_.begin(), pages_.end(), first, isBefore);
  for (; page != pages_.end() && page->block == block && page->number * kPageBytes < end; ++page) {
    if (page->copy == nullptr) {
      copies_.emplace_back();
      page->copy = copies_.back().data();
      memcpy(page->copy, page->data, kPageBytes);
      page->data = page->copy;
    }
    const uint64_t pageAt = page->number * kPageBytes;
    const uint64_t from = std::max(offset, pageAt);
    const uint64_t to = std::min(end, pageAt + kPageBytes);
    memcpy(page->copy + (from - pageAt), data + (from - offset), to - from);
  }
}

void MemoryAfter::write(const struct exitlog_reference& reference,
                        std::vector<DiskWrite>& into) const {
  const Page first{reference.block, reference.at / kPageBytes, nullptr, nullptr};
  auto page = std::lower_bound(pages_.begin(), pages_.end(), first, isBefore);
  uint64_t skip = reference.at % kPageBytes;
  bool isFirst = true;
  for (uint64_t done = 0; done < reference.bytes; ++page, skip = 0) {
    const uint64_t some = std::min(reference.bytes - done, kPageBytes - skip);
    const uint8_t* data = page->data + skip;
    if (!isFirst && into.back().data + into.back().bytes == data) {
      into.back().bytes += some;
    } else {
      into.push_back(DiskWrite{reference.disk, reference.offset + done, data, some});
    }
    isFirst = false;
    done += some;
  }
}

}  // namespace exitlog
