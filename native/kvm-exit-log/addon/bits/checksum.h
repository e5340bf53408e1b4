// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <xxhash.h>

#include <cstddef>
#include <cstdint>

#include "bits/layout.h"

namespace exitlog {

uint32_t crc32(const void* data, size_t bytes);
uint64_t xxh64(const void* data, size_t bytes, uint64_t seed = 0);

// The same, of what lies in several places.
class Checksum {
 public:
  explicit Checksum(uint64_t seed) { XXH64_reset(&state_, seed); }
  void add(const void* data, size_t bytes) { XXH64_update(&state_, data, bytes); }
  uint64_t digest() const { return XXH64_digest(&state_); }

 private:
  XXH64_state_t state_;
};

// Checksum of a batch's head with the checksum itself left out (layout.h, schema/log.capnp).
uint64_t batchHeaderChecksum(const BatchHead& head);

// Checksum of a control message: all of it, with its first data word taken as zero. `data`:
// its end, where that lies elsewhere, padded with zeros to whole words.
uint64_t controlChecksum(const uint8_t* body, size_t bytes, const uint8_t* data = nullptr,
                         size_t dataBytes = 0);

}  // namespace exitlog
