// SPDX-License-Identifier: Apache-2.0
#include "bits/patch.h"

#include <cstring>

namespace exitlog {

namespace {

// What is equal between two runs and no longer than this goes along: another run's numbers
// would take as much.
constexpr uint64_t kGapBytes = 4;
constexpr uint64_t kWord = sizeof(uint64_t);
constexpr unsigned kLineWords = 8;  // are looked at at once
constexpr uint64_t kLine = kLineWords * kWord;
constexpr unsigned kAllOthers = (1u << kLineWords) - 1;

uint8_t* putNumber(uint8_t* to, uint64_t value) {
  while (value >= 0x80) {
    *to++ = static_cast<uint8_t>(value | 0x80);
    value >>= 7;
  }
  *to++ = static_cast<uint8_t>(value);
  return to;
}

uint64_t wordAt(const uint8_t* bytes) {
  uint64_t word;
  memcpy(&word, bytes, kWord);
  return word;
}

// The words of a line that differ, a bit each.
unsigned others(const uint8_t* a, const uint8_t* b) {
  uint64_t difference[kLineWords];
  uint64_t all = 0;
  for (unsigned n = 0; n < kLineWords; n++) {
    difference[n] = wordAt(a + n * kWord) ^ wordAt(b + n * kWord);
    all |= difference[n];
  }
  if (all == 0) return 0;
  unsigned found = 0;
  for (unsigned n = 0; n < kLineWords; n++) found |= unsigned{difference[n] != 0} << n;
  return found;
}

#if __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
#error "the first byte of a word is taken for its lowest"
#endif
uint64_t firstOther(uint64_t difference) {
  return static_cast<uint64_t>(__builtin_ctzll(difference)) / 8;
}
uint64_t afterLastOther(uint64_t difference) {
  return kWord - static_cast<uint64_t>(__builtin_clzll(difference)) / 8;
}

}  // namespace

void PatchWriter::run(const uint8_t* bytes, uint64_t count) {
  to_ = putNumber(putNumber(to_, kept_), count);
  memcpy(to_, bytes, count);
  to_ += count;
  kept_ = 0;
}

// Most runs are short: a word is written, of which no more counts.
void PatchWriter::shortRun(uint64_t word, uint64_t count) {
  to_ = putNumber(to_, kept_);
  *to_++ = static_cast<uint8_t>(count);
  memcpy(to_, &word, kWord);
  to_ += count;
  kept_ = 0;
}

void PatchWriter::difference(const uint8_t* now, uint8_t* before) {
  uint64_t first = 0;  // of the run that is found
  uint64_t end = 0;
  uint64_t done = 0;  // written, or kept, up to there
  const auto write = [&] {
    if (end == done) return;
    keep(first - done);
    if (end - first <= kWord && first <= kPageBytes - kWord) {
      shortRun(wordAt(before + first), end - first);
    } else {
      run(before + first, end - first);
    }
    done = end;
  };
  const auto extend = [&](uint64_t from, uint64_t to) {
    if (end == done || from > end + kGapBytes) {
      write();
      first = from;
    }
    end = to;
  };
  for (uint64_t line = 0; line < kPageBytes; line += kLine) {
    unsigned left = others(now + line, before + line);
    if (left == kAllOthers) {
      const uint8_t* const last = before + line + kLine - kWord;
      const uint64_t was = wordAt(last);
      memcpy(before + line, now + line, kLine);
      const uint64_t other = wordAt(last) ^ was;
      extend(line, line + kLine - kWord + (other == 0 ? kWord : afterLastOther(other)));
      continue;
    }
    for (; left != 0; left &= left - 1) {
      const uint64_t at = line + static_cast<unsigned>(__builtin_ctz(left)) * kWord;
      const uint64_t word = wordAt(now + at);
      const uint64_t other = word ^ wordAt(before + at);
      if (other == 0) continue;  // it was written meanwhile
      memcpy(before + at, &word, kWord);
      extend(at + firstOther(other), at + afterLastOther(other));
    }
  }
  write();
  keep(kPageBytes - done);
}

}  // namespace exitlog
