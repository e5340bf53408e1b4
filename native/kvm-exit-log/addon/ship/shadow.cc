// SPDX-License-Identifier: Apache-2.0
#include "ship/shadow.h"

#include <sys/mman.h>

#include <cstring>

namespace exitlog {

Shadow::Shadow(uint64_t bytesMax) : setsMax_(bytesMax / kPage / kWays) {}

Shadow::~Shadow() { forget(); }

void Shadow::forget() {
  if (memory_ != nullptr) munmap(memory_, setsMax_ * kWays * kPage);
  memory_ = nullptr;
  sets_ = std::vector<Set>();
  pages_ = 0;
}

// Neighbours are in neighbouring sets.
Shadow::Set& Shadow::setOf(uint64_t key) {
  const uint64_t page = key >> 16;
  return sets_[(page ^ (page / setsMax_) ^ (key & 0xffff) * 0x9e3779b1u) % setsMax_];
}

uint8_t* Shadow::place(const Set& set, uint64_t way) const {
  const auto number = static_cast<uint64_t>(&set - sets_.data());
  return memory_ + (number * kWays + way) * kPage;
}

uint8_t* Shadow::find(uint32_t part, uint64_t page) {
  now_++;
  if (memory_ == nullptr) return nullptr;
  const uint64_t key = keyOf(part, page);
  Set& set = setOf(key);
  for (uint64_t way = 0; way < kWays; way++) {
    if (set.key[way] != key) continue;
    set.sent[way] = now_;
    return place(set, way);
  }
  return nullptr;
}

uint8_t* Shadow::add(uint32_t part, uint64_t page) {
  if (memory_ == nullptr && !make()) return nullptr;
  const uint64_t key = keyOf(part, page);
  Set& set = setOf(key);
  uint64_t oldest = 0;
  for (uint64_t way = 0; way < kWays; way++) {
    if (set.key[way] == 0) {
      oldest = way;
      pages_++;
      break;
    }
    // Differences: the count begins again some day.
    if (now_ - set.sent[way] > now_ - set.sent[oldest]) oldest = way;
  }
  set.key[oldest] = key;
  set.sent[oldest] = now_;
  return place(set, oldest);
}

bool Shadow::make() {
  const uint64_t bytes = setsMax_ * kWays * kPage;
  void* map = mmap(nullptr, bytes, PROT_READ | PROT_WRITE,
                   MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (map == MAP_FAILED) return false;
  sets_.resize(setsMax_);
  memory_ = static_cast<uint8_t*>(map);
  return true;
}

void Shadow::zero(uint32_t part, uint64_t first, uint64_t count) {
  if (count < kWays * setsMax_) {
    for (uint64_t page = first; page < first + count; page++) {
      uint8_t* memory = find(part, page);
      if (memory != nullptr) memset(memory, 0, kPage);
    }
    return;
  }
  for (const Set& set : sets_) {
    for (uint64_t way = 0; way < kWays; way++) {
      const uint64_t page = set.key[way] >> 16;
      const bool isOne = keyOf(part, page) == set.key[way] && page - first < count;
      if (isOne) memset(place(set, way), 0, kPage);
    }
  }
}

}  // namespace exitlog
