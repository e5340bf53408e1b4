// SPDX-License-Identifier: Apache-2.0
// Data of a piece in fewer bytes, for a link that is slower than the guest: a zstd frame, which says
// how long they are.
#pragma once

#include <cstdint>
#include <vector>

struct ZSTD_CCtx_s;
struct ZSTD_DCtx_s;

namespace exitlog {

class Packer {
 public:
  Packer() = default;
  ~Packer();
  Packer(const Packer&) = delete;
  Packer& operator=(const Packer&) = delete;
  // @returns bytes at `to`, fewer than `count`; 0: they would not be, or there is no memory
  uint64_t pack(const uint8_t* from, uint64_t count, uint8_t* to);

 private:
  struct ZSTD_CCtx_s* context_ = nullptr;
};

class Unpacker {
 public:
  Unpacker() = default;
  ~Unpacker();
  Unpacker(const Unpacker&) = delete;
  Unpacker& operator=(const Unpacker&) = delete;
  // From 1 byte to kStateDataBytesMax, valid until the next call. Throws CorruptError for what is
  // no such frame, std::bad_alloc.
  const std::vector<uint8_t>& unpack(const uint8_t* from, uint64_t count);

 private:
  struct ZSTD_DCtx_s* context_ = nullptr;
  std::vector<uint8_t> data_;
};

}  // namespace exitlog
