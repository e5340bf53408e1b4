// SPDX-License-Identifier: Apache-2.0
// What fuzz targets share (docs/fuzzing.md). A target is a file with one `fuzz`: whatever the
// bytes, it ends by returning, or by an error that is for such bytes. Any other exception, a read
// out of bounds, undefined behaviour, a leak, seconds or a gigabyte are a finding.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <memory>
#include <stdexcept>
#include <vector>

#include "bits/errors.h"
#include "bits/layout.h"

namespace exitlog {

// An input, read from its front. What is not there any more is zero.
class Input {
 public:
  Input(const uint8_t* bytes, size_t count) : at_(bytes), end_(bytes + count) {}
  bool isEmpty() const { return at_ == end_; }
  uint64_t number(unsigned bytes);
  uint8_t byte() { return static_cast<uint8_t>(number(1)); }
  bool flip() { return (byte() & 1) != 0; }
  // From 0 to `most`.
  uint64_t upTo(uint64_t most) { return most == UINT64_MAX ? number(8) : number(4) % (most + 1); }
  // A number at an edge, or any: where checks go wrong.
  uint64_t edge(uint64_t near);
  std::vector<uint8_t> bytes(uint64_t most);
  std::vector<uint8_t> rest();

 private:
  const uint8_t* at_;
  const uint8_t* const end_;
};

// Exactly so many bytes: the next one is not ours, and reading it is found.
class Exact {
 public:
  explicit Exact(const std::vector<uint8_t>& bytes);
  const uint8_t* data() const { return bytes_.get(); }
  uint8_t* data() { return bytes_.get(); }
  size_t size() const { return size_; }

 private:
  size_t size_;
  std::unique_ptr<uint8_t[]> bytes_;
};

// What else bytes have to be before a reader looks further, made right where it can be: a fuzzer
// finds no checksum. `frame` has room for a prefix.
void sealPrefix(std::vector<uint8_t>& frame, uint16_t type);
void sealControl(std::vector<uint8_t>& frame, uint16_t type);
// `sealsShape`: its pointers and lengths say what is there.
void sealBatch(std::vector<uint8_t>& frame, bool sealsShape);

// Every byte is looked at, so that one that is not there is found.
void touch(const void* bytes, size_t count);

// A property that holds whatever the input: abort() else.
inline void must(bool holds) {
  if (!holds) abort();
}

// Where a caller handles a PeerError and no other: bytes that are wrong must not be said otherwise.
template <class Run>
void onlyPeerErrors(Run run) {
  try {
    run();
  } catch (const CorruptError&) {
    abort();
  }
}

// The target's. A CorruptError or PeerError of it is a refusal, as it should be.
void fuzz(Input& in);

}  // namespace exitlog
