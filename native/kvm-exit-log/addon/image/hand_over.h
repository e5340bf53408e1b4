// SPDX-License-Identifier: Apache-2.0
// An image's way into the QEMU that waits beside it (qemu/exitlog/cut/image.c).
#pragma once

#include <string>

#include "image/image.h"

namespace exitlog {

// What that QEMU does not have by ImageMemory, as of the last commit, into a file (0600) which
// is whole or not there. Throws std::system_error; RingError (ERR_RING_STATE) before the first commit.
void handOver(const Image& image, const std::string& path);

}  // namespace exitlog
