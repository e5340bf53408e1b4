// SPDX-License-Identifier: Apache-2.0
// Numbers of a seed (SplitMix64).
#pragma once

#include <cstdint>

namespace quorum {

class Random {
 public:
  explicit Random(uint64_t seed) : state_(seed) {}
  uint64_t next() {
    uint64_t z = (state_ += 0x9e3779b97f4a7c15ull);
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9ull;
    z = (z ^ z >> 27) * 0x94d049bb133111ebull;
    return z ^ z >> 31;
  }
  // From `least` to `most`.
  uint64_t between(uint64_t least, uint64_t most) { return least + next() % (most - least + 1); }
  bool chance(double share) { return static_cast<double>(next() >> 11) < share * (1ull << 53); }
  template <class List>
  auto& of(List& list) {
    return list[next() % list.size()];
  }

 private:
  uint64_t state_;
};

}  // namespace quorum
