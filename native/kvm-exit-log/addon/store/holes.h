// SPDX-License-Identifier: Apache-2.0
// Holes of files: where they are, and making them.
#pragma once

#include <napi.h>
#include <sys/types.h>

namespace exitlog {

// Where data begins, from `at` on: `end` if it does not.
off_t dataFrom(int fd, off_t at, off_t end);
// Where a hole begins, from `at` on: `end` if none does.
off_t holeFrom(int fd, off_t at, off_t end);
// The range reads as zeros afterwards, and takes no room where the file system can free
// it; else zeros are written over what is data. Throws std::system_error.
void zeroRange(int fd, off_t at, off_t bytes);

// zeroRange(fd, offset, bytes)
void zeroRangeJs(const Napi::CallbackInfo& info);
// dataRanges(fd, bytes): offsets, where data begins and ends in turn
Napi::Value dataRanges(const Napi::CallbackInfo& info);

}  // namespace exitlog
