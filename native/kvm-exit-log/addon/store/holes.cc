// SPDX-License-Identifier: Apache-2.0
#include "store/holes.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <memory>
#include <system_error>
#include <vector>

#include "bits/args.h"

namespace exitlog {

namespace {

constexpr size_t kChunk = 1 << 20;
constexpr uint64_t kOffsetMax = uint64_t{1} << 53;
constexpr uint64_t kFdMax = 0x7fffffff;

void writeZeros(int fd, off_t at, off_t end) {
  static const std::unique_ptr<uint8_t[]> zeros(new uint8_t[kChunk]());
  while (at < end) {
    const size_t n = static_cast<size_t>(std::min<off_t>(end - at, kChunk));
    const ssize_t done = pwrite(fd, zeros.get(), n, at);
    if (done < 0 && errno == EINTR) continue;
    if (done < 0) throw std::system_error(errno, std::generic_category(), "cannot write zeros");
    at += done;
  }
}

}  // namespace

off_t dataFrom(int fd, off_t at, off_t end) {
  const off_t data = lseek(fd, at, SEEK_DATA);
  if (data < 0) return errno == ENXIO ? end : at;  // or a file system without holes
  return std::min(data, end);
}

off_t holeFrom(int fd, off_t at, off_t end) {
  const off_t hole = lseek(fd, at, SEEK_HOLE);
  return hole < 0 || hole > end ? end : hole;
}

void zeroRange(int fd, off_t at, off_t bytes) {
  const int mode = FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE;
  int result;
  do {
    result = bytes == 0 ? 0 : fallocate(fd, mode, at, bytes);
  } while (result < 0 && errno == EINTR);
  if (result == 0) return;
  // Whatever the reason: if it matters, writing says so.
  const off_t end = at + bytes;
  while ((at = dataFrom(fd, at, end)) < end) {
    const off_t hole = holeFrom(fd, at, end);
    writeZeros(fd, at, hole);
    at = hole;
  }
}

void zeroRangeJs(const Napi::CallbackInfo& info) {
  guard(info.Env(), [&] {
    const int fd = static_cast<int>(argInteger(info, info[0], "fd", 0, kFdMax));
    const uint64_t offset = argInteger(info, info[1], "offset", 0, kOffsetMax);
    const uint64_t bytes = argInteger(info, info[2], "bytes", 0, kOffsetMax);
    zeroRange(fd, static_cast<off_t>(offset), static_cast<off_t>(bytes));
  });
}

Napi::Value dataRanges(const Napi::CallbackInfo& info) {
  return guard(info.Env(), [&]() -> Napi::Value {
    const int fd = static_cast<int>(argInteger(info, info[0], "fd", 0, kFdMax));
    const off_t end = static_cast<off_t>(argInteger(info, info[1], "bytes", 0, kOffsetMax));
    std::vector<double> edges;
    for (off_t at = 0; (at = dataFrom(fd, at, end)) < end;) {
      const off_t hole = holeFrom(fd, at, end);
      edges.push_back(static_cast<double>(at));
      edges.push_back(static_cast<double>(hole));
      at = hole;
    }
    Napi::Float64Array array = Napi::Float64Array::New(info.Env(), edges.size());
    std::copy(edges.begin(), edges.end(), array.Data());
    return array;
  });
}

}  // namespace exitlog
