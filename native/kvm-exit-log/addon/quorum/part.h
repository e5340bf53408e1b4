// SPDX-License-Identifier: Apache-2.0
// Packets between replicas (core/message.h) as frames of a link: a packet is one frame or
// several, one behind the other, for a link believes no length beyond a megabyte.
#pragma once

#include <cstring>
#include <vector>

#include "bits/checksum.h"
#include "bits/layout.h"

namespace exitlog {

inline void addBytes(std::vector<uint8_t>& to, const void* bytes, size_t count) {
  const auto* from = static_cast<const uint8_t*>(bytes);
  to.insert(to.end(), from, from + count);
}

// A frame whose `count` bytes are added next.
inline void beginPart(std::vector<uint8_t>& to, size_t count) {
  FramePrefix prefix{kFrameMagic, kFrameQuorum, 0, static_cast<uint32_t>(count), 0};
  prefix.crc = crc32(&prefix, offsetof(FramePrefix, crc));
  addBytes(to, &prefix, sizeof prefix);
}

// Whether a whole frame is one.
inline bool isPart(const uint8_t* frame, size_t length) {
  FramePrefix prefix{};
  if (length < sizeof prefix) return false;
  memcpy(&prefix, frame, sizeof prefix);
  return prefix.type == kFrameQuorum && length == sizeof prefix + prefix.bodyBytes;
}

}  // namespace exitlog
