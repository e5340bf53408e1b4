// SPDX-License-Identifier: Apache-2.0
#include "state/packed.h"

#include <zstd.h>

#include <new>

#include "bits/errors.h"
#include "bits/layout.h"

namespace exitlog {

namespace {

// The quickest: the courier makes them.
constexpr int kLevel = 1;

}  // namespace

Packer::~Packer() { ZSTD_freeCCtx(context_); }

uint64_t Packer::pack(const uint8_t* from, uint64_t count, uint8_t* to) {
  if (context_ == nullptr) context_ = ZSTD_createCCtx();
  if (context_ == nullptr || count == 0) return 0;
  const size_t packed = ZSTD_compressCCtx(context_, to, count - 1, from, count, kLevel);
  return ZSTD_isError(packed) != 0 ? 0 : packed;
}

Unpacker::~Unpacker() { ZSTD_freeDCtx(context_); }

const std::vector<uint8_t>& Unpacker::unpack(const uint8_t* from, uint64_t count) {
  const unsigned long long bytes = ZSTD_getFrameContentSize(from, count);
  // Also where it does not say, or is no frame: that is a number beyond.
  if (bytes == 0 || bytes > kStateDataBytesMax) {
    throw CorruptError("packed data of no length that there is");
  }
  if (context_ == nullptr) context_ = ZSTD_createDCtx();
  if (context_ == nullptr) throw std::bad_alloc();
  data_.resize(bytes);
  const size_t got = ZSTD_decompressDCtx(context_, data_.data(), bytes, from, count);
  if (ZSTD_isError(got) != 0) {
    throw CorruptError(format("packed data that cannot be unpacked: %s", ZSTD_getErrorName(got)));
  }
  if (got != bytes) throw CorruptError("packed data of another length than they say");
  return data_;
}

}  // namespace exitlog
