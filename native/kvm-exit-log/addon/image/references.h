// SPDX-License-Identifier: Apache-2.0
// Writes to disks whose data lie in memory (struct exitlog_reference): which bytes these are,
// before the epoch that has them is written to the image.
#pragma once

#include <array>
#include <cstdint>
#include <deque>
#include <vector>

#include "exitlog_abi.h"
#include "image/disks.h"

namespace exitlog {

// The references in a piece of the part REFERENCES. Throws nothing: `bytes` that are no whole
// number of them are the caller's affair.
std::vector<struct exitlog_reference> referencesIn(const uint8_t* data, uint64_t bytes);

// Memory as an epoch leaves it, where references need it.
class MemoryAfter {
 public:
  // These bytes of a block, which now has them there: `now` is the block's first.
  void need(const struct exitlog_reference& reference, const uint8_t* now);
  // All that is needed is known.
  void seal();
  // The epoch changes these pages, in this order; data null: to zeros. They stay the caller's.
  void change(uint64_t block, uint64_t offset, uint64_t bytes, const uint8_t* data);
  // The same of these bytes, which lie anywhere.
  void patch(uint64_t block, uint64_t offset, uint64_t bytes, const uint8_t* data);
  // What a reference that was needed writes: in parts, where its data do not lie one behind the
  // other. They are valid as long as what was given above, and this.
  void write(const struct exitlog_reference& reference, std::vector<DiskWrite>& into) const;

 private:
  struct Page {
    uint64_t block;
    uint64_t number;
    const uint8_t* data;
    uint8_t* copy;  // of it, where it is one; else null
  };
  static bool isBefore(const Page& a, const Page& b) {
    return a.block != b.block ? a.block < b.block : a.number < b.number;
  }
  std::vector<Page> pages_;  // ordered and each once, from seal() on
  // Pages that were patched. A page given whole later leaves its copy unused.
  std::deque<std::array<uint8_t, 4096>> copies_;
};

}  // namespace exitlog
