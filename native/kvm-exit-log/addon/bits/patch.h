// SPDX-License-Identifier: Apache-2.0
// A patch of a range of memory: the bytes of it that are others than before.
//
// A list of runs. A run is two numbers and bytes: how many bytes stay as they are, then how many
// come, at least one, then those. Numbers have 7 bits a byte, the lowest first, the top bit of all
// but the last one set. After the last run everything stays. The bytes are the new ones and not
// a difference, so what stays need not be known to who makes a patch, and a patch that is applied
// twice does nothing more.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "bits/errors.h"

namespace exitlog {

constexpr uint64_t kPageBytes = 4096;
// Room that a page needs in a patch.
constexpr uint64_t kPatchPageBytesMax = kPageBytes + 32;
// A patch's range has no more, so that every number in it has five bytes at most.
constexpr uint64_t kPatchRangeMax = uint64_t{1} << 34;

class PatchWriter {
 public:
  // Where it writes, from the next page on; nothing is kept yet.
  void begin(uint8_t* into) {
    from_ = to_ = into;
    kept_ = 0;
  }
  uint64_t bytes() const { return static_cast<uint64_t>(to_ - from_); }

  // What comes next stays.
  void keep(uint64_t bytes) { kept_ += bytes; }
  // A page, whole.
  void give(const uint8_t* page) {
    run(page, kPageBytes);
  }
  // A page that was `before`, which becomes the same. `now` may change meanwhile: what is written
  // makes what `before` was what it has become.
  void difference(const uint8_t* now, uint8_t* before);

 private:
  void run(const uint8_t* bytes, uint64_t count);
  void shortRun(uint64_t word, uint64_t count);
  uint8_t* from_ = nullptr;
  uint8_t* to_ = nullptr;
  uint64_t kept_ = 0;
};

// Calls `each(offset, bytes, count)` for each run, in ascending order, all within `range`. Throws
// CorruptError, maybe after some calls, for what is no patch of it.
template <class Each>
void readPatch(const uint8_t* patch, uint64_t patchBytes, uint64_t range, Each each) {
  const uint8_t* const end = patch + patchBytes;
  const auto number = [&] {
    uint64_t value = 0;
    for (unsigned shift = 0; patch < end && shift < 35; shift += 7) {
      const uint8_t byte = *patch++;
      value |= uint64_t{byte & 0x7fu} << shift;
      if (byte < 0x80) return value;
    }
    throw CorruptError("a patch with half a number");
  };
  uint64_t at = 0;
  while (patch < end) {
    const uint64_t kept = number();
    const uint64_t count = number();
    if (count == 0) throw CorruptError("a patch with an empty run");
    if (count > static_cast<uint64_t>(end - patch)) {
      throw CorruptError("a patch that has not the bytes it says");
    }
    if (kept > range - at || count > range - at - kept) {
      throw CorruptError("a patch beyond the end of its range");
    }
    at += kept;
    each(at, patch, count);
    patch += count;
    at += count;
  }
}

}  // namespace exitlog
