// SPDX-License-Identifier: Apache-2.0
// A patch that is made brings a page to what it has become, and fits where it is written; any other
// bytes as a patch stay within their range.
#include "bits/patch.h"

#include <cstring>

#include "fuzz.h"

namespace exitlog {

namespace {

void anyBytes(Input& in) {
  const uint64_t range = in.edge(kPageBytes);
  const Exact patch(in.rest());
  uint64_t end = 0;
  readPatch(patch.data(), patch.size(), range,
            [&](uint64_t at, const uint8_t* bytes, uint64_t count) {
              must(at >= end && count > 0 && count <= range && at <= range - count);
              end = at + count;
              touch(bytes, count);
            });
}

std::vector<uint8_t> changed(Input& in, std::vector<uint8_t> page) {
  for (uint64_t runs = in.upTo(20); runs > 0; runs--) {
    uint64_t at = in.upTo(kPageBytes - 1);
    const uint64_t step = 1 + in.upTo(12);
    for (uint64_t n = in.upTo(200); n > 0 && at < kPageBytes; n--, at += step) {
      page[at] ^= in.byte();
    }
  }
  return page;
}

void made(Input& in) {
  const std::vector<uint8_t> before = changed(in, std::vector<uint8_t>(2 * kPageBytes));
  std::vector<uint8_t> now = changed(in, before);
  for (size_t i = kPageBytes; i < now.size(); i += 1 + in.byte()) now[i] ^= in.byte();
  std::vector<uint8_t> shadow = before;
  Exact room(std::vector<uint8_t>(2 * kPatchPageBytesMax));
  PatchWriter writer;
  writer.begin(room.data());
  writer.difference(now.data(), shadow.data());
  if (in.flip()) {
    writer.difference(now.data() + kPageBytes, shadow.data() + kPageBytes);
  } else {
    writer.give(now.data() + kPageBytes);
    memcpy(&shadow[kPageBytes], &now[kPageBytes], kPageBytes);
  }
  must(writer.bytes() <= room.size() && shadow == now);
  std::vector<uint8_t> applied = before;
  const Exact patch(std::vector<uint8_t>(room.data(), room.data() + writer.bytes()));
  readPatch(patch.data(), patch.size(), applied.size(),
            [&](uint64_t at, const uint8_t* bytes, uint64_t count) {
              memcpy(&applied[at], bytes, count);
            });
  must(applied == now);
}

}  // namespace

void fuzz(Input& in) {
  if (in.flip()) anyBytes(in);
  else made(in);
}

}  // namespace exitlog
