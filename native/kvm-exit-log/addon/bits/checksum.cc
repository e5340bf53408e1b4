// SPDX-License-Identifier: Apache-2.0
#include "bits/checksum.h"

#include <xxhash.h>

#include <array>

namespace exitlog {

namespace {

constexpr std::array<uint32_t, 256> makeCrcTable() {
  std::array<uint32_t, 256> table{};
  for (uint32_t i = 0; i < 256; i++) {
    uint32_t value = i;
    for (int bit = 0; bit < 8; bit++) value = value & 1 ? value >> 1 ^ 0xedb88320u : value >> 1;
    table[i] = value;
  }
  return table;
}
constexpr auto kCrcTable = makeCrcTable();

}  // namespace

// A table is enough: it is only ever asked for the 12 bytes of a prefix.
uint32_t crc32(const void* data, size_t bytes) {
  auto* p = static_cast<const uint8_t*>(data);
  uint32_t crc = ~0u;
  for (size_t i = 0; i < bytes; i++) crc = kCrcTable[(crc ^ p[i]) & 255] ^ crc >> 8;
  return ~crc;
}

uint64_t xxh64(const void* data, size_t bytes, uint64_t seed) { return XXH64(data, bytes, seed); }

uint64_t batchHeaderChecksum(const BatchHead& head) {
  constexpr size_t kAfter = offsetof(BatchHead, header) + sizeof head.header.headerChecksum;
  auto* bytes = reinterpret_cast<const uint8_t*>(&head);
  XXH64_state_t state;
  XXH64_reset(&state, 0);
  XXH64_update(&state, bytes, offsetof(BatchHead, header));
  XXH64_update(&state, bytes + kAfter, kTagOffset - kAfter);
  return XXH64_digest(&state);
}

uint64_t controlChecksum(const uint8_t* body, size_t bytes, const uint8_t* data,
                         size_t dataBytes) {
  constexpr uint64_t kZero = 0;
  XXH64_state_t state;
  XXH64_reset(&state, 0);
  XXH64_update(&state, body, 16);
  XXH64_update(&state, &kZero, 8);
  XXH64_update(&state, body + 24, bytes - 24);
  if (dataBytes > 0) {
    XXH64_update(&state, data, dataBytes);
    XXH64_update(&state, &kZero, paddedTo8(dataBytes) - dataBytes);
  }
  return XXH64_digest(&state);
}

}  // namespace exitlog
