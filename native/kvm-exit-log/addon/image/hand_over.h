// SPDX-License-Identifier: Apache-2.0
// An image's way into the QEMU that waits beside it (qemu/exitlog/cut/image.c).
#pragma once

#include "image/image.h"

namespace exitlog {

// A file in memory that QEMU inherits: a take-over needs no room on any disk.
class HandOver {
 public:
  // Empty. Throws std::system_error.
  HandOver();
  ~HandOver();
  HandOver(const HandOver&) = delete;
  HandOver& operator=(const HandOver&) = delete;

  int fd() const { return fd_; }

 private:
  int fd_;
};

// What that QEMU does not have by ImageMemory, as of the last commit, into that file.
// Throws std::system_error; RingError (ERR_RING_STATE) before the first commit.
void handOver(const Image& image, int fd);

}  // namespace exitlog
