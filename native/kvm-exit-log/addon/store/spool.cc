// SPDX-License-Identifier: Apache-2.0
#include "store/spool.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <system_error>

namespace exitlog {

namespace {

constexpr uint64_t kPieceBytes = 1u << 20;

[[noreturn]] void fail(const char* what) {
  throw std::system_error(errno, std::generic_category(), what);
}

}  // namespace

Spool::Spool(const std::string& dir)
    : fd_(open(dir.c_str(), O_TMPFILE | O_RDWR | O_CLOEXEC, 0600)) {
  if (fd_ < 0) fail("what waits for a backup");
}

Spool::~Spool() { close(fd_); }

void Spool::append(const uint8_t* frame, uint64_t count) {
  for (uint64_t done = 0; done < count;) {
    const ssize_t wrote = pwrite(fd_, frame + done, count - done,
                                 static_cast<off_t>(end_ + done));
    if (wrote < 0 && errno == EINTR) continue;
    if (wrote < 0) fail("what waits for a backup cannot be written");
    done += static_cast<uint64_t>(wrote);
  }
  end_ += count;
}

bool Spool::next(const uint8_t*& bytes, uint64_t& count) {
  if (at_ == end_) return false;
  piece_.resize(std::min(kPieceBytes, end_ - at_));
  ssize_t got = 0;
  do {
    got = pread(fd_, piece_.data(), piece_.size(), static_cast<off_t>(at_));
  } while (got < 0 && errno == EINTR);
  if (got <= 0) fail("what waits for a backup cannot be read");
  at_ += static_cast<uint64_t>(got);
  bytes = piece_.data();
  count = static_cast<uint64_t>(got);
  return true;
}

}  // namespace exitlog
