// SPDX-License-Identifier: Apache-2.0
// What the backup has of the pages that were sent last, so that the next time only what differs
// need be sent.
//
// It is bounded, whatever the guest's memory: a page that is not found goes whole. A place is one
// of kWays by the page's number; the one whose page was not sent for the longest is taken.
#pragma once

#include <cstdint>
#include <vector>

namespace exitlog {

class Shadow {
 public:
  // Room for so many bytes of pages, a power of two of at least 8 pages; memory is taken as they
  // come, and 12 bytes for each page that there is room for.
  explicit Shadow(uint64_t bytesMax);
  ~Shadow();
  Shadow(const Shadow&) = delete;
  Shadow& operator=(const Shadow&) = delete;

  // The page as the backup has it; null: that is not known. It counts as sent now.
  uint8_t* find(uint32_t part, uint64_t page);
  // Room for a page that is not there; null: there is no memory for it. What it has is for the
  // caller to fill.
  uint8_t* add(uint32_t part, uint64_t page);
  // The backup has these as zeros.
  void zero(uint32_t part, uint64_t first, uint64_t count);
  // The backup has nothing, or there is none. Its memory is given back.
  void forget();

  uint64_t bytes() const { return pages_ * kPage; }

 private:
  static constexpr uint64_t kPage = 4096;
  static constexpr uint64_t kWays = 8;
  struct Set {
    uint64_t key[kWays];   // 0: free
    uint32_t sent[kWays];  // when, in pages
  };
  static uint64_t keyOf(uint32_t part, uint64_t page) { return (page << 16) + part; }
  bool make();
  Set& setOf(uint64_t key);
  uint8_t* place(const Set& set, uint64_t way) const;
  uint8_t* memory_ = nullptr;
  std::vector<Set> sets_;
  const uint64_t setsMax_;
  uint64_t pages_ = 0;  // that it has
  uint32_t now_ = 0;
};

}  // namespace exitlog
